"""How far a neuron on a grid of steps is from its equations, and how that falls with dt."""

from saltation.numerics.convergence import (
    Errors,
    Exact,
    Order,
    drives,
    errors_of,
    exact,
    fitted_order,
    order_before,
    order_of_times,
    steps_before,
)

__all__ = [
    "Errors",
    "Exact",
    "Order",
    "drives",
    "errors_of",
    "exact",
    "fitted_order",
    "order_before",
    "order_of_times",
    "steps_before",
]
