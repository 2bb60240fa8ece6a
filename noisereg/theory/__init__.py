"""What the paper's theorems predict, in closed form, and verifiers that set it beside a measurement."""

from noisereg.theory.bias_drift import bias_steps, verify_bias_drift
from noisereg.theory.check import Check, Curve
from noisereg.theory.concentration import logistic_pull, lowering_share, verify_concentration
from noisereg.theory.drift import neuron_drift, verify_drift
from noisereg.theory.gradient_flow import verify_gradient_flow
from noisereg.theory.homogeneity import euler_violation, obstacles
from noisereg.theory.neuron import (
    NeuronBound,
    hinge_rest,
    neuron_bound,
    neuron_equilibrium,
    neuron_norm,
    neuron_norms,
    neuron_slope,
    verify_neuron,
)
from noisereg.theory.norm_decay import norm_threshold, verify_threshold
from noisereg.theory.one_step import hidden_square_bound, neuron_square, verify_one_step
from noisereg.theory.perceptron import verify_perceptron
from noisereg.theory.polynomial import ActivityPolynomial, activity_polynomial, expected_activity, verify_polynomial
from noisereg.theory.several_outputs import norm_rates, verify_outputs
from noisereg.theory.sparse_hypercube import (
    hypercube_active,
    hypercube_error,
    hypercube_net,
    verify_hypercube_net,
)
from noisereg.theory.standard_basis import (
    BasisRun,
    basis_outputs,
    silent_share,
    train_on_basis,
    verify_dead_output,
    verify_learning_rates,
    visit_basis,
)
from noisereg.theory.symmetry import check_half_active, verify_half_active

__all__ = [
    "ActivityPolynomial",
    "BasisRun",
    "Check",
    "Curve",
    "NeuronBound",
    "activity_polynomial",
    "basis_outputs",
    "bias_steps",
    "check_half_active",
    "euler_violation",
    "expected_activity",
    "hidden_square_bound",
    "hinge_rest",
    "hypercube_active",
    "hypercube_error",
    "hypercube_net",
    "logistic_pull",
    "lowering_share",
    "neuron_bound",
    "neuron_drift",
    "neuron_equilibrium",
    "neuron_norm",
    "neuron_norms",
    "neuron_slope",
    "neuron_square",
    "norm_rates",
    "norm_threshold",
    "obstacles",
    "silent_share",
    "train_on_basis",
    "verify_bias_drift",
    "verify_concentration",
    "verify_dead_output",
    "verify_drift",
    "verify_gradient_flow",
    "verify_half_active",
    "verify_hypercube_net",
    "verify_learning_rates",
    "verify_neuron",
    "verify_one_step",
    "verify_outputs",
    "verify_perceptron",
    "verify_polynomial",
    "verify_threshold",
    "visit_basis",
]
