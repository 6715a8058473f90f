// Package model holds the two networks that turn a video into its embedding,
// the networks that they are pretrained as, and their sum. Start reading at
// late.go and early.go; both are explained in their first lines.
//
//	config.go    every size and setting; the presets base and tiny
//	inputs.go    a collated batch as tensors
//	textnet.go   title and speech text to a hidden state, with tags to pretrain on
//	videonet.go  frames to a hidden state, with tags to pretrain on
//	late.go      model one, late fusion: both of the above, projected and gated
//	early.go     model two, early fusion: title and frames in one encoder
//	ensemble.go  both models of a bundle, for inference: pack.go, packed.go
//
// Parameter names are those of the published checkpoints. The networks are
// checked number by number against the reference implementation in the Golden
// tests. Tensor work belongs inside torch.Engine.Do.
package model
