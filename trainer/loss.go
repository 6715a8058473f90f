package trainer

import "videosim/shared/torch"

// The weights of the tag loss, from the published system's losses.py.
const (
	tagLossScale   = 0.001
	positiveWeight = 10   // a tag that is there counts ten times
	probabilityEps = 1e-7 // bounds of the probabilities, as float32 rounds them
)

// TagLoss is the pretraining loss: a focal binary cross-entropy with exponent
// 2, summed over batch and tags (so it grows with the batch, which the
// optimiser's clipping notices), times 0.001. probabilities and labels (0 or
// 1) are [B, tags] float32. It is computed from probabilities, not logits,
// because the published system's rounding at the bounds is part of its
// gradients.
func TagLoss(s *torch.Scope, probabilities, labels torch.Tensor) torch.Tensor {
	return torch.MulScalar(s, torch.SumAll(s, focal(s, probabilities, labels)), tagLossScale)
}

// focal is the loss of every element, in the shape of its arguments:
//
//	−(y ln p + (1−y) ln(1−p)) · (10y + (1−y)) · (1 − (p y + (1−p)(1−y)))²
func focal(s *torch.Scope, probabilities, y torch.Tensor) torch.Tensor {
	p := torch.Clamp(s, probabilities, probabilityEps, 1-probabilityEps)
	q := oneMinus(s, p)
	absent := oneMinus(s, y)
	likelihood := torch.Add(s, torch.Mul(s, y, torch.Log(s, p)), torch.Mul(s, absent, torch.Log(s, q)))
	weight := torch.AddScalar(s, torch.MulScalar(s, y, positiveWeight-1), 1)
	certainty := torch.Add(s, torch.Mul(s, p, y), torch.Mul(s, q, absent))
	doubt := oneMinus(s, certainty)
	return torch.Neg(s, torch.Mul(s, torch.Mul(s, likelihood, weight), torch.Mul(s, doubt, doubt)))
}

func oneMinus(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return torch.AddScalar(s, torch.Neg(s, x), 1)
}

// PairLosses is the finetuning loss and what it is made of.
type PairLosses struct {
	Total                        torch.Tensor // Supervised + Unsupervised1 + Unsupervised2
	Supervised                   torch.Tensor // mean squared error of the pairs' cosines
	Unsupervised1, Unsupervised2 torch.Tensor // of either side of the batch, see unsupervised
	Normalized1, Normalized2     torch.Tensor // [B, D], rows of norm 1
	Similarity                   torch.Tensor // [B], the pairs' cosines
}

// PairLoss compares the cosines of B pairs with their labels. embedding1 and
// embedding2 are [B, D], row i of both being pair i; labels is [B] in 0…1. Like
// TagLoss it stays in float32 under autocast.
func PairLoss(s *torch.Scope, embedding1, embedding2, labels torch.Tensor) (l PairLosses) {
	torch.Autocast(embedding1.Device(), torch.Float32, func() { l = pairLoss(s, embedding1, embedding2, labels) })
	return l
}

func pairLoss(s *torch.Scope, embedding1, embedding2, labels torch.Tensor) PairLosses {
	var l PairLosses
	l.Normalized1, l.Normalized2 = normalize(s, embedding1), normalize(s, embedding2)
	l.Similarity = torch.Sum(s, torch.Mul(s, l.Normalized1, l.Normalized2), 1, false)
	miss := torch.Sub(s, l.Similarity, labels)
	l.Supervised = torch.MeanAll(s, torch.Mul(s, miss, miss))
	l.Unsupervised1, l.Unsupervised2 = unsupervised(s, l.Normalized1), unsupervised(s, l.Normalized2)
	l.Total = torch.Add(s, torch.Add(s, l.Supervised, l.Unsupervised1), l.Unsupervised2)
	return l
}

// normalize divides each row by max(its L2 norm, 1e-12).
func normalize(s *torch.Scope, x torch.Tensor) torch.Tensor {
	norm := torch.Norm(s, x, 1, true)                           // (B,1)
	floor := torch.Full(s, 1e-12, torch.Float32, x.Device(), 1) // (1)
	return torch.Div(s, x, torch.Maximum(s, norm, floor))       // (B,D)
}

// unsupervised pulls the cosine of any two videos on one side of the batch,
// whose true similarity is unknown, to the nearest of 0, ½ and 1: half the
// mean over all B² entries of the squared distance, a video with itself
// counting as 0. n is [B, D] with rows of norm 1.
func unsupervised(s *torch.Scope, n torch.Tensor) torch.Tensor {
	cosine := torch.MatMul(s, n, torch.Transpose(s, n, 0, 1)) // (B,B)
	half := func(above float64) torch.Tensor {
		return torch.MulScalar(s, torch.AsType(s, torch.GreaterScalar(s, cosine, above), torch.Float32), 0.5)
	}
	target := torch.Add(s, half(0.25), half(0.75)) // nearest of 0, ½, 1; carries no gradient
	miss := torch.Mul(s, torch.Sub(s, cosine, target), offDiagonal(s, n.Size(0), n.Device()))
	return torch.MulScalar(s, torch.MeanAll(s, torch.Mul(s, miss, miss)), 0.5)
}

// offDiagonal is [n, n]: 0 on the diagonal, 1 elsewhere.
func offDiagonal(s *torch.Scope, n int64, device torch.Device) torch.Tensor {
	mask := make([]float32, n*n)
	for i := range mask {
		if int64(i)%(n+1) != 0 {
			mask[i] = 1
		}
	}
	return torch.To(s, torch.FromFloat32s(s, mask, n, n), torch.Float32, device)
}
