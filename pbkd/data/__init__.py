"""Images and labels: sources, splits, batches, augmentation."""
