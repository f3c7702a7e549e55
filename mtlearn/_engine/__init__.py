"""The torch side: the network, its training data and the training step.

Public modules of scikit-learn's surface are built on these; nothing here is public.
"""
