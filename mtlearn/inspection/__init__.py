"""Inspection: the network of a fitted estimator as a picture, and what its outputs do."""

from mtlearn.inspection._architecture_display import ArchitectureDisplay
from mtlearn.inspection._auxiliary_effect import AuxiliaryEffect, auxiliary_effect
from mtlearn.inspection._auxiliary_effect_display import AuxiliaryEffectDisplay
from mtlearn.inspection._gradient_conflict_display import GradientConflictDisplay
from mtlearn.inspection._gradient_flow_display import GradientFlowDisplay
from mtlearn.inspection._gradient_monitor import GradientMonitor
from mtlearn.inspection._gradient_report import GradientReport, gradient_report
from mtlearn.inspection._loss_curves_display import LossCurvesDisplay
from mtlearn.inspection._loss_weights_display import LossWeightsDisplay
from mtlearn.inspection._prequential_display import PrequentialDisplay

__all__ = [
    "ArchitectureDisplay",
    "AuxiliaryEffect",
    "AuxiliaryEffectDisplay",
    "GradientConflictDisplay",
    "GradientFlowDisplay",
    "GradientMonitor",
    "GradientReport",
    "LossCurvesDisplay",
    "LossWeightsDisplay",
    "PrequentialDisplay",
    "auxiliary_effect",
    "gradient_report",
]
