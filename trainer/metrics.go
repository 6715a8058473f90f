package trainer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"videosim/shared/errs"
	"videosim/trainer/tfevents"
)

// Names in the work folder.
const (
	metricsFile  = "metrics.jsonl"
	eventsFolder = "tensorboard"
)

// metricsLog keeps the figures of a run twice: as one JSON object a line in
// metrics.jsonl, and as TensorBoard's event files in tensorboard/<stage>/.
// Every stage is a run of its own to TensorBoard: they count their steps from
// 1 each, and share one chart a figure. And what a resumed run makes it forget
// are all of a run's figures from a step on.
type metricsLog struct {
	file   *os.File
	bytes  int64 // in file
	work   string
	now    func() time.Time
	failed error          // what size could not say
	last   map[string]int // the last step of every stage that has lines
	events map[string]*tfevents.Writer
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
	Wait         *float64  `json:"loader_wait_share,omitempty"` // of an epoch's time, in which the model had no batch to work on
	Spearman     *float64  `json:"spearman,omitempty"`          // on the held-out pairs; absent where undefined
	Best         bool      `json:"best,omitempty"`
	TrainPairs   int       `json:"train_pairs,omitempty"`
	HeldOutPairs int       `json:"held_out_pairs,omitempty"`
}

// openMetrics opens the log in the folder work. It goes on behind the first
// keep bytes of metrics.jsonl, as size gave them; what an interrupted run wrote
// after that vanishes, and TensorBoard is told to forget it. With 0 it starts
// anew. A log that lost lines meanwhile goes on with those it has: training
// does not depend on it.
func openMetrics(work string, keep int64) (*metricsLog, error) {
	f, err := os.OpenFile(filepath.Join(work, metricsFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open metrics: %w", err)
	}
	l := &metricsLog{file: f, work: work, now: time.Now, last: map[string]int{}, events: map[string]*tfevents.Writer{}}
	if err := l.cut(keep); err != nil {
		return nil, errors.Join(fmt.Errorf("open metrics: %w", err), l.Close())
	}
	return l, nil
}

// cut drops what is behind the first keep bytes.
func (l *metricsLog) cut(keep int64) error {
	kept, err := io.ReadAll(io.LimitReader(l.file, keep))
	if err != nil {
		return err
	}
	kept = kept[:bytes.LastIndexByte(kept, '\n')+1]
	lines, err := parseMetrics(bytes.NewReader(kept), l.file.Name())
	if err != nil {
		return err
	}
	for _, m := range lines {
		l.last[m.Stage] = max(l.last[m.Stage], m.Step)
	}
	l.bytes = int64(len(kept))
	if err := l.file.Truncate(l.bytes); err != nil {
		return err
	}
	if _, err := l.file.Seek(l.bytes, io.SeekStart); err != nil {
		return err
	}
	return l.restartEvents(len(kept) == 0)
}

// restartEvents deletes all event files if the run is new. Otherwise it begins
// a new one for every stage that has some.
func (l *metricsLog) restartEvents(anew bool) error {
	folders, err := os.ReadDir(filepath.Join(l.work, eventsFolder))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, folder := range folders {
		dir := filepath.Join(l.work, eventsFolder, folder.Name())
		files, err := tfevents.Files(dir)
		if err != nil {
			return err
		}
		if anew {
			for _, path := range files {
				err = errors.Join(err, os.Remove(path))
			}
		} else if len(files) > 0 {
			l.events[folder.Name()], err = tfevents.Create(dir, l.now(), l.firstStep(folder.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// firstStep is the step from which on the older event files of a stage count
// no more: the one after the last that was kept.
func (l *metricsLog) firstStep(folder string) int64 {
	for stage, last := range l.last {
		if stageFolder(stage) == folder {
			return int64(last) + 1
		}
	}
	return 0
}

func stageFolder(stage string) string { return strings.ReplaceAll(stage, " ", "-") }

// write appends m to both forms.
func (l *metricsLog) write(m metric) error {
	m.Time = l.now().UTC()
	line, err := json.Marshal(m)
	if err = errors.Join(l.failed, err); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	n, err := l.file.Write(append(line, '\n'))
	l.bytes += int64(n)
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return l.writeEvent(m)
}

func (l *metricsLog) writeEvent(m metric) (err error) {
	scalars := m.scalars()
	if m.Stage == "" || len(scalars) == 0 {
		return nil
	}
	folder := stageFolder(m.Stage)
	w := l.events[folder]
	if w == nil {
		if w, err = tfevents.Create(filepath.Join(l.work, eventsFolder, folder), m.Time, 0); err != nil {
			return err
		}
		l.events[folder] = w
	}
	return w.Write(m.Time, int64(m.Step), scalars)
}

// scalars are the figures of m as TensorBoard shows them, by event and field:
// a step's loss and an epoch's mean over its steps have charts of their own.
func (m metric) scalars() []tfevents.Scalar {
	var out []tfevents.Scalar
	for _, s := range []struct {
		field string
		value *float64
	}{
		{"loss", m.Loss},
		{"supervised_loss", m.Supervised},
		{"unsupervised_loss", m.Unsupervised},
		{"learning_rate", m.LearningRate},
		{"videos_per_second", m.Rate},
		{"spearman", m.Spearman},
	} {
		if s.value != nil {
			out = append(out, tfevents.Scalar{Tag: m.Event + "/" + s.field, Value: *s.value})
		}
	}
	return out
}

// size returns how many bytes metrics.jsonl has, once they and the event files
// are on disk: what openMetrics is to keep if the run is resumed from here. A
// failure to get them there shows at the next write.
func (l *metricsLog) size() int64 {
	l.failed = errors.Join(l.failed, l.file.Sync())
	for _, w := range l.events {
		l.failed = errors.Join(l.failed, w.Sync())
	}
	return l.bytes
}

func (l *metricsLog) Close() error {
	err := errors.Join(l.failed, l.file.Close())
	for _, w := range l.events {
		err = errors.Join(err, w.Close())
	}
	return err
}

// readMetricsLog returns the lines of the log in the folder work.
func readMetricsLog(work string) ([]metric, error) {
	f, err := os.Open(filepath.Join(work, metricsFile))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer f.Close()
	return parseMetrics(f, f.Name())
}

// parseMetrics reads lines of metrics; file names them in errors.
func parseMetrics(r io.Reader, file string) ([]metric, error) {
	var out []metric
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var m metric
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, errs.New(errs.Corrupt, "%s: line %d is no JSON object of metrics: %w", file, len(out)+1, err)
		}
		out = append(out, m)
	}
	return out, lines.Err()
}

// finite returns x for a JSON field, or nil where JSON has no word for it.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
