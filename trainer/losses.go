package trainer

import (
	"math"

	"videosim/shared/torch"
)

// lossValues are a step's losses, read back from the device. The parts are
// absent in pretraining.
type lossValues struct {
	Total        float64 `json:"total"`
	Supervised   float64 `json:"supervised,omitempty"`
	Unsupervised float64 `json:"unsupervised,omitempty"`
	Parts        bool    `json:"parts,omitempty"`
}

func (l PairLosses) values() lossValues {
	return lossValues{l.Total.Item(), l.Supervised.Item(), l.Unsupervised1.Item() + l.Unsupervised2.Item(), true}
}

func (v lossValues) finite() bool { return !math.IsNaN(v.Total) && !math.IsInf(v.Total, 0) }

// into fills the loss fields of a line of metrics.
func (v lossValues) into(m *metric) {
	m.Loss = finite(v.Total)
	if v.Parts {
		m.Supervised, m.Unsupervised = finite(v.Supervised), finite(v.Unsupervised)
	}
}

// lossSum adds up losses over steps.
type lossSum struct {
	Sum   lossValues `json:"sum"`
	Steps int        `json:"steps"`
}

func (l *lossSum) add(v lossValues) {
	l.Sum.Total += v.Total
	l.Sum.Supervised += v.Supervised
	l.Sum.Unsupervised += v.Unsupervised
	l.Sum.Parts = v.Parts
	l.Steps++
}

func (l *lossSum) mean() lossValues {
	n := float64(max(l.Steps, 1))
	return lossValues{l.Sum.Total / n, l.Sum.Supervised / n, l.Sum.Unsupervised / n, l.Sum.Parts}
}

// allFinite reports whether no value of the tensors is infinite or undefined.
func allFinite(ts []torch.Tensor) bool {
	s := torch.NewScope()
	defer s.Close()
	sum := 0.0
	for _, t := range ts {
		sum += torch.NormAll(s, t).Item()
	}
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}
