// Package torch is the suite's tensor engine: a narrow binding to libtorch,
// written by hand, and the only package that uses cgo.
//
//	shim.h, shim.hpp    the C face of libtorch and its conventions
//	core.cpp, ops.hpp   its two halves: state and handles; operations
//	torch.go            Tensor, Error, DType, Device; reading tensors back
//	scope.go            Scope: who frees what
//	engine.go           Engine: the one thread that all tensor work runs on
//	create.go … inplace.go  the operations, by subject; adam.c the optimiser's
//	linear.go           linear layers, packed and in 8-bit integers: packed.hpp, quantise.c
//	stage.go            tensors on their way to a GPU while it computes: stream.hpp
//	network.go          the other layers; attention.c attends without padding
//	autograd.go         gradients, autocast, seeds, the state of the random numbers
//	group.go            Group: several processes that train together; dist.cpp, nccl.hpp
//
// A call looks like this:
//
//	e, err := torch.Start(torch.EngineConfig{Device: "auto", Precision: "auto"})
//	…
//	err = e.Do(ctx, func(s *torch.Scope) error {
//		x := torch.FromFloat32s(s, data, 2, 3)
//		y := torch.Softmax(s, torch.MatMul(s, x, w), -1)
//		result = y.Float32s() // a copy: the scope frees x and y on return
//		return nil
//	})
//
// Promises: no operation returns an error, each panics with *Error, and Do or Try
// returns it; a scope frees everything made in it; LiveTensors counts what is
// alive; nothing blocks but Do, which honours its context while it waits, and the
// calls on a Group, which have a timeout.
// DESIGN.md defends these choices.
package torch
