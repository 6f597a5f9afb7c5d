"""Relevance propagation: modifiers, rules made of terms, and composites made of rules.

Imports backward, errors, graph and vjp.
"""
