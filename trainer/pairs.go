package trainer

import (
	"context"

	"videosim/shared/nn"
	"videosim/shared/torch"
)

// A pairNet is a network that is finetuned on pairs, in two parts: an encoder
// that looks at one video at a time, and a head whose batch normalisation and
// loss look at the whole batch. X is what the encoder reads: whole videos, or
// what frozen towers made of them.
type pairNet[X any] struct {
	net    *nn.Params
	encode func(s *torch.Scope, x X) torch.Tensor               // (B,W) Float32, a row a video
	head   func(s *torch.Scope, rows torch.Tensor) torch.Tensor // (B,W) → (B,E)
	learns bool                                                 // gradients reach the encoder
}

// pairBatch is this process's share of B pairs, in parts of what goes through
// the encoder at once.
type pairBatch[X any] struct {
	parts  []pairPart[X]
	labels []float32
}

type pairPart[X any] struct{ first, second X }

// learnPairs computes the loss of a batch of pairs and its gradients:
//
//	parts ── encode ── rows ──┐
//	other processes' rows ────┴─ head ── loss
//
// The head sees the batch of all processes at once, so how many of them there
// are, and how many parts, changes only rounding. A batch in several parts is
// encoded twice where the encoder learns: first without a graph, for the loss
// and its gradient by row, then part by part with the same random numbers, for
// the gradients of the encoder (Gao et al. 2021, "Scaling Deep Contrastive
// Learning Batch Size under Memory Limited Setup"). Memory is that of one part.
func learnPairs[X any](r *run, s *torch.Scope, n pairNet[X], b pairBatch[X], total int) lossValues {
	n.net.SetTraining(true)
	again := n.learns && len(b.parts) > 1
	random := torch.RNGState(r.engine.Device())
	var sides [2]torch.Tensor
	if again {
		torch.NoGrad(func() { sides = encodeParts(r, s, n, b.parts) })
		for _, rows := range sides {
			rows.SetRequiresGrad(true)
		}
	} else {
		sides = encodeParts(r, s, n, b.parts)
	}
	labels := torch.To(s, torch.FromFloat32s(s, b.labels, int64(len(b.labels)), 1), torch.Float32, r.engine.Device())
	labels = torch.Squeeze(s, r.world.gather(s, labels, total), 1)
	first := n.head(s, r.world.gather(s, sides[0], total))
	second := n.head(s, r.world.gather(s, sides[1], total))
	loss := PairLoss(s, first, second, labels)
	loss.Total.Backward()
	if again {
		torch.SetRNGState(r.engine.Device(), random)
		backwardParts(r, n, b.parts, torch.Grad(s, sides[0]), torch.Grad(s, sides[1]))
	}
	return loss.values()
}

// encodeParts returns the rows of both sides, all parts joined.
func encodeParts[X any](r *run, s *torch.Scope, n pairNet[X], parts []pairPart[X]) [2]torch.Tensor {
	var rows [2][]torch.Tensor
	r.mixed(func() {
		for _, p := range parts {
			rows[0] = append(rows[0], s.Sub(func(s *torch.Scope) torch.Tensor { return n.encode(s, p.first) }))
			rows[1] = append(rows[1], s.Sub(func(s *torch.Scope) torch.Tensor { return n.encode(s, p.second) }))
		}
	})
	if len(parts) == 1 {
		return [2]torch.Tensor{rows[0][0], rows[1][0]}
	}
	return [2]torch.Tensor{torch.Cat(s, 0, rows[0]...), torch.Cat(s, 0, rows[1]...)}
}

// backwardParts encodes every part again, in the order of encodeParts, and
// hands the gradient of its rows back to the encoder.
func backwardParts[X any](r *run, n pairNet[X], parts []pairPart[X], first, second torch.Tensor) {
	at := int64(0)
	for _, p := range parts {
		s := torch.NewScope()
		var rows [2]torch.Tensor
		r.mixed(func() { rows = [2]torch.Tensor{n.encode(s, p.first), n.encode(s, p.second)} })
		size := rows[0].Size(0)
		given := torch.Add(s,
			torch.SumAll(s, torch.Mul(s, rows[0], torch.Narrow(s, first, 0, at, size))),
			torch.SumAll(s, torch.Mul(s, rows[1], torch.Narrow(s, second, 0, at, size))))
		given.Backward()
		at += size
		s.Close()
	}
}

// pairStage is the finetuning of n; collect makes the encoder's input for
// videos, on the loader's goroutines, and partial says which parameters are
// the encoder's.
func pairStage[X any](r *run, name string, cfg StageConfig, n pairNet[X], collect func(ids []string) (X, error), partial func(name string) bool) stage[pairBatch[X]] {
	pairs := r.corpus.split.Train
	return stage[pairBatch[X]]{
		name: name, cfg: cfg, net: n.net, items: len(pairs), videosPerItem: 2,
		load: func(items []int) (pairBatch[X], error) { return loadPairs(r, items, collect) },
		learn: func(s *torch.Scope, b pairBatch[X]) lossValues {
			total := int(r.world.sum(float64(len(b.labels)))[0])
			return learnPairs(r, s, n, b, total)
		},
		partial: partial,
		measure: func(ctx context.Context) (float64, error) {
			return heldOutSpearman(ctx, r, n.net, collect, func(s *torch.Scope, x X) torch.Tensor { return n.head(s, n.encode(s, x)) })
		},
		ids: r.pairIDs,
	}
}

func loadPairs[X any](r *run, items []int, collect func(ids []string) (X, error)) (pairBatch[X], error) {
	var b pairBatch[X]
	for part := range r.parts(items) {
		pairs := pick(r.corpus.split.Train, part)
		first, second := make([]string, len(pairs)), make([]string, len(pairs))
		for i, p := range pairs {
			first[i], second[i] = p.A, p.B
			b.labels = append(b.labels, float32(p.Label))
		}
		x, err := collect(first)
		if err != nil {
			return b, err
		}
		y, err := collect(second)
		if err != nil {
			return b, err
		}
		b.parts = append(b.parts, pairPart[X]{x, y})
	}
	return b, nil
}

func (r *run) pairIDs(items []int) []string {
	var ids []string
	for _, p := range pick(r.corpus.split.Train, items) {
		ids = append(ids, p.A, p.B)
	}
	return ids
}
