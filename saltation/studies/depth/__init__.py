"""The depth study: what makes depth pay?"""
