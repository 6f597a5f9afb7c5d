"""CAM weightings: from activations and gradients or masked runs to components per channel."""
