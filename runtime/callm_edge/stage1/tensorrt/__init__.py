"""Stage 1 on TensorRT: the engine is built on the device, kept in a cache, proven to run in half precision, and run
inside a CUDA graph. `ready.ready_engine` gives an engine; `runtime.TensorRTBackend` scores with it."""
