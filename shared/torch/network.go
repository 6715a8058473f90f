package torch

// #include "shim.h"
import "C"

import "unsafe"

// MatMul multiplies matrices; leading dimensions broadcast.
func MatMul(s *Scope, a, b Tensor) Tensor { return s.take("matmul", C.vt_matmul(a.c(), b.c())) }

// Embedding looks up rows of table by int64 ids. The row paddingRow gets no
// gradient; -1 means that every row does.
func Embedding(s *Scope, table, ids Tensor, paddingRow int64) Tensor {
	return s.take("embedding", C.vt_embedding(table.c(), ids.c(), C.int64_t(paddingRow)))
}

// Softmax normalises along dim.
func Softmax(s *Scope, a Tensor, dim int64) Tensor {
	return s.take("softmax", C.vt_softmax(a.c(), C.int64_t(dim)))
}

// Dropout zeroes elements with probability p and scales the others by 1/(1-p).
// Outside training it returns a.
func Dropout(s *Scope, a Tensor, p float64, training bool) Tensor {
	if !training || p == 0 {
		return a
	}
	return s.take("dropout", C.vt_dropout(a.c(), C.double(p), true))
}

// LayerNorm normalises over the last dimension, then scales and shifts.
func LayerNorm(s *Scope, x, weight, bias Tensor, eps float64) Tensor {
	return s.take("layer norm", C.vt_layer_norm(x.c(), weight.c(), bias.optional(), C.double(eps)))
}

// BatchStats are the settings of a BatchNorm call.
type BatchStats struct {
	Mean, Variance Tensor // running statistics, updated in place when training
	Training       bool   // normalise by the batch's own statistics
	Momentum, Eps  float64
}

// BatchNorm normalises each column of x (B, C) over the batch, by the batch's
// statistics when training and by the running ones otherwise.
func BatchNorm(s *Scope, x, weight, bias Tensor, st BatchStats) Tensor {
	return s.take("batch norm", C.vt_batch_norm(x.c(), weight.optional(), bias.optional(),
		st.Mean.optional(), st.Variance.optional(), C.bool(st.Training), C.double(st.Momentum), C.double(st.Eps)))
}

// Attention is softmax(q·kᵀ/√width + mask)·v, fused where the backend can.
// q, k, v are (B, heads, positions, width); mask may be absent, boolean (true:
// attend) or added to the scores, and broadcasts to (B, heads, queries, keys).
// dropout applies to the probabilities; pass 0 outside training.
func Attention(s *Scope, q, k, v, mask Tensor, dropout float64) Tensor {
	return s.take("attention", C.vt_attention(q.c(), k.c(), v.c(), mask.optional(), C.double(dropout)))
}

// PackedAttention is Attention over sequences that stand one after another,
// without padding, in the rows of q, k and v (N, heads·width): lengths are their
// numbers of rows, bias what is added to the score of each one's last key. On the
// CPU, without gradients. What a row attends to does not depend on other sequences.
func PackedAttention(s *Scope, q, k, v Tensor, heads int64, lengths []int64, bias []float32) Tensor {
	return s.take("packed attention", C.vt_attention_packed(q.c(), k.c(), v.c(), C.int64_t(heads),
		(*C.int64_t)(unsafe.SliceData(lengths)), (*C.float)(unsafe.SliceData(bias)), C.size_t(len(lengths))))
}
