"""callm_export: the workshop. Data sets, the autoencoder and its training, evaluation, ONNX export, writing bundles."""
