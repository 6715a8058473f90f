package trainer

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"
)

// metricsLog appends one JSON object a line to metrics.jsonl.
type metricsLog struct {
	file *os.File
	now  func() time.Time
}

// metric is one line: a step's, or an epoch's when Event is "epoch".
type metric struct {
	Time         time.Time `json:"time"`
	Event        string    `json:"event"` // step, epoch, split, calibration
	Stage        string    `json:"stage,omitempty"`
	Epoch        int       `json:"epoch,omitempty"` // from 1
	Step         int       `json:"step,omitempty"`  // from 1, over the whole stage
	Loss         *float64  `json:"loss,omitempty"`  // epoch: mean over its steps; split of pair losses below
	Supervised   *float64  `json:"supervised_loss,omitempty"`
	Unsupervised *float64  `json:"unsupervised_loss,omitempty"`
	LearningRate *float64  `json:"learning_rate,omitempty"`
	Rate         *float64  `json:"videos_per_second,omitempty"`
	Spearman     *float64  `json:"spearman,omitempty"` // on the held-out pairs; absent where undefined
	Best         bool      `json:"best,omitempty"`
	TrainPairs   int       `json:"train_pairs,omitempty"`
	HeldOutPairs int       `json:"held_out_pairs,omitempty"`
}

func openMetrics(path string) (*metricsLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open metrics: %w", err)
	}
	return &metricsLog{file: f, now: time.Now}, nil
}

func (l *metricsLog) write(m metric) error {
	m.Time = l.now().UTC()
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func (l *metricsLog) Close() error { return l.file.Close() }

// finite returns x for a JSON field, or nil where JSON has no word for it.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
