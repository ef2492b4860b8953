"""The convergence study: how errors of schemes fall with dt, before and through spikes."""
