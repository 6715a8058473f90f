package nn

import (
	"fmt"

	"videosim/shared/torch"
)

// BERTConfig sets the sizes of an encoder.
type BERTConfig struct {
	Vocab, Hidden, Layers, Heads, Intermediate int
	MaxPosition, TypeVocab                     int
	LayerNormEps, Dropout                      float64
	Padding                                    int // row of the word table that gets no gradient
}

// BERT is the encoder of "BERT: Pre-training of Deep Bidirectional
// Transformers" (Devlin et al., 2019), with the parameter names of Hugging
// Face's BertModel.
//
//	tokens ─ word ──┐
//	types  ─ type ──┼─ + ─ norm ─ dropout ─ layer × Layers ─ (B,N,H)
//	place ─ position┘
//
//	layer: x ─┬─ attention ─ dropout ─ + ─ norm ─┬─ Linear ─ GELU ─ Linear ─ dropout ─ + ─ norm
//	          └────────────────────────┘         └──────────────────────────────────────┘
//
// The pooler is registered because checkpoints have it; nothing reads it.
type BERT struct {
	word, position, kind torch.Tensor // embedding tables
	norm                 *LayerNorm
	layers               []*bertLayer
	padding              int64
	dropout              float64
	mode                 *mode
}

// BERT draws its weights from N(0, 0.02²).
func bertInit(t torch.Tensor) { t.Normal(0, 0.02) }

func wordInit(padding int) Init {
	return func(t torch.Tensor) {
		bertInit(t)
		s := torch.NewScope()
		defer s.Close()
		torch.Select(s, t, 0, int64(padding)).Fill(0)
	}
}

func newBERTLinear(p Path, in, out int) *Linear { return newLinear(p, in, out, bertInit, zeros) }

// NewBERT makes an encoder at p.
func NewBERT(p Path, cfg BERTConfig) *BERT {
	e, h := p.At("embeddings"), int64(cfg.Hidden)
	b := &BERT{
		word:     e.At("word_embeddings").Parameter("weight", wordInit(cfg.Padding), int64(cfg.Vocab), h),
		position: e.At("position_embeddings").Parameter("weight", bertInit, int64(cfg.MaxPosition), h),
		kind:     e.At("token_type_embeddings").Parameter("weight", bertInit, int64(cfg.TypeVocab), h),
		norm:     NewLayerNorm(e.At("LayerNorm"), cfg.Hidden, cfg.LayerNormEps),
		padding:  int64(cfg.Padding),
		dropout:  cfg.Dropout,
		mode:     p.params.mode,
	}
	for i := range cfg.Layers {
		b.layers = append(b.layers, newBERTLayer(p.At(fmt.Sprintf("encoder.layer.%d", i)), cfg))
	}
	newBERTLinear(p.At("pooler.dense"), cfg.Hidden, cfg.Hidden)
	return b
}

// Words looks tokens (B,T) up in the word table: (B,T,H).
func (b *BERT) Words(s *torch.Scope, tokens torch.Tensor) torch.Tensor {
	return torch.Embedding(s, b.word, tokens, b.padding)
}

// Encode runs the encoder over hidden states (B,N,H), which stand where words
// usually do, with types (B,N) and the place (N) of each position. mask (B,1,1,N)
// is added to the scores.
func (b *BERT) Encode(s *torch.Scope, hidden, types, places, mask torch.Tensor) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		x := b.embed(s, hidden, types, places)
		for _, l := range b.layers {
			x = s.Sub(func(s *torch.Scope) torch.Tensor { return l.forward(s, x, x, padded{mask}) })
		}
		return x
	})
}

// firstQueries is how many positions EncodeFirst computes in the last layer to
// get position 0. With a single one the backend multiplies by a matrix-vector
// kernel whose rounding depends on the memory address, so that a video's
// embedding would depend on its place in the batch.
const firstQueries = 2

// EncodeFirst is Encode for callers that read only position 0: (B,H). The last
// layer leaves out the other positions.
func (b *BERT) EncodeFirst(s *torch.Scope, hidden, types, places, mask torch.Tensor) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		x := b.embed(s, hidden, types, places)
		for i, l := range b.layers {
			x = s.Sub(func(s *torch.Scope) torch.Tensor {
				queries := x
				if i == len(b.layers)-1 {
					queries = torch.Narrow(s, x, 1, 0, min(firstQueries, x.Size(1))) // (B,2,H)
				}
				return l.forward(s, queries, x, padded{mask})
			})
		}
		return First(s, x)
	})
}

func (b *BERT) embed(s *torch.Scope, hidden, types, places torch.Tensor) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		x := torch.Add(s, hidden, torch.Embedding(s, b.kind, types, -1)) // (B,N,H)
		x = torch.Add(s, x, torch.Embedding(s, b.position, places, -1))  // + (N,H)
		return torch.Dropout(s, b.norm.Forward(s, x), b.dropout, b.mode.training)
	})
}

type bertLayer struct {
	query, key, value, out, up, down *Linear
	attended, fed                    *LayerNorm
	heads                            int64
	dropout                          float64
	mode                             *mode
}

func newBERTLayer(p Path, cfg BERTConfig) *bertLayer {
	a, h := p.At("attention"), cfg.Hidden
	return &bertLayer{
		query:    newBERTLinear(a.At("self.query"), h, h),
		key:      newBERTLinear(a.At("self.key"), h, h),
		value:    newBERTLinear(a.At("self.value"), h, h),
		out:      newBERTLinear(a.At("output.dense"), h, h),
		attended: NewLayerNorm(a.At("output.LayerNorm"), h, cfg.LayerNormEps),
		up:       newBERTLinear(p.At("intermediate.dense"), h, cfg.Intermediate),
		down:     newBERTLinear(p.At("output.dense"), cfg.Intermediate, h),
		fed:      NewLayerNorm(p.At("output.LayerNorm"), h, cfg.LayerNormEps),
		heads:    int64(cfg.Heads),
		dropout:  cfg.Dropout,
		mode:     p.params.mode,
	}
}

// forward computes the positions x (B,Q,H) from all positions (B,N,H). Packed,
// both are (N,H).
func (l *bertLayer) forward(s *torch.Scope, x, all torch.Tensor, in Layout) torch.Tensor {
	return l.feed(s, l.attention(s, x, all, in), x)
}

// attention is what the positions x attend to, in the shape of x.
func (l *bertLayer) attention(s *torch.Scope, x, all torch.Tensor, in Layout) torch.Tensor {
	dropout := 0.0
	if l.mode.training {
		dropout = l.dropout
	}
	q, k, v := l.query.Forward(s, x), l.key.Forward(s, all), l.value.Forward(s, all)
	return in.attend(s, q, k, v, l.heads, dropout)
}

// feed is the rest of the layer: it treats each position alone.
func (l *bertLayer) feed(s *torch.Scope, a, x torch.Tensor) torch.Tensor {
	x = l.attended.Forward(s, l.out.residual(s, a, x, l.dropout, l.mode.training))
	f := l.up.ForwardGELU(s, x) // (B,Q,Intermediate)
	return l.fed.Forward(s, l.down.residual(s, f, x, l.dropout, l.mode.training))
}

// splitHeads turns (B,N,heads·width) into (B,heads,N,width).
func splitHeads(s *torch.Scope, x torch.Tensor, heads int64) torch.Tensor {
	b, n := x.Size(0), x.Size(1)
	return torch.Transpose(s, torch.Reshape(s, x, b, n, heads, -1), 1, 2)
}

// joinHeads turns (B,heads,N,width) into (B,N,heads·width).
func joinHeads(s *torch.Scope, x torch.Tensor) torch.Tensor {
	b, n := x.Size(0), x.Size(2)
	return torch.Reshape(s, torch.Transpose(s, x, 1, 2), b, n, -1)
}
