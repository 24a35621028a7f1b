"""Control plane: turns DetectronTrainingJob objects into gangs of torchrun pods and tells the truth about them."""
