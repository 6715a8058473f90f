// Package nn holds the layers that the suite's two models are built of, and
// the registry that gives every parameter its published name.
//
// A layer is made at a Path, which registers its parameters in a Params under
// the Path's prefix; the parameters' values come from Params.Load or from the
// layer's own initialisation. A layer's Forward takes the scope that owns what
// it computes. Shapes stand in the margin; B is the batch, T tokens, F frames,
// N positions of either kind, H the width of a hidden state.
//
//	params.go   Params, Path: names, loading, copying, which parameters train
//	linear.go   Linear, LayerNorm, BatchNorm, and how each is initialised
//	bert.go     the post-norm encoder of BERT, from tokens or from hidden states
//	video.go    the pre-norm transformer over frames
//	packed.go   batches without padding: how attention and means tell videos apart
//	pool.go     the squeeze-excite gate, masked mean, attention masks
//
// Dropout and batch statistics are active only while Params.SetTraining(true).
package nn
