"""The flossing study: do Lyapunov exponents near zero help over long delays?"""
