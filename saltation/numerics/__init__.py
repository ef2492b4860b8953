"""What a network's numbers are worth: how far neurons on a grid of steps are from their equations,
how that falls with dt, and how a network is run at another dt."""

from saltation.numerics.accuracy import Accuracy, accuracy
from saltation.numerics.at_dt import AtDt, at_dt
from saltation.numerics.convergence import (
    Errors,
    Exact,
    Order,
    errors_of,
    exact,
    fitted_order,
    order_before,
    order_of_times,
    rates,
    solutions,
    steps_before,
)
from saltation.numerics.mapping import Mapping
from saltation.numerics.recommend import Evidence, Recommendation, recommend

__all__ = [
    "Accuracy",
    "AtDt",
    "Errors",
    "Evidence",
    "Exact",
    "Mapping",
    "Order",
    "Recommendation",
    "accuracy",
    "at_dt",
    "errors_of",
    "exact",
    "fitted_order",
    "order_before",
    "order_of_times",
    "rates",
    "recommend",
    "solutions",
    "steps_before",
]
