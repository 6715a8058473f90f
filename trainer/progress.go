package trainer

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress shows a run to a person: one bar a stage on a terminal, plain lines
// anywhere else.
type progress struct {
	out  io.Writer
	bars *mpb.Progress // nil: plain lines
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	// A dumb terminal cannot go back to a line that it has written.
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(24), mpb.WithRefreshRate(150*time.Millisecond))
	}
	return p
}

// println writes a line above the bars.
func (p *progress) println(format string, args ...any) {
	var w io.Writer = p.out
	if p.bars != nil {
		w = p.bars
	}
	// A progress line that cannot be shown is no reason to stop training.
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// wait lets the bars draw their last state.
func (p *progress) wait() {
	if p.bars != nil {
		p.bars.Wait()
	}
}

// stageProgress is the display of one stage.
type stageProgress struct {
	*progress
	name    string
	epochs  int
	steps   int // of the whole stage
	resumed int // of them, taken before start
	start   time.Time
	lastAt  time.Time // of the last plain line
	step    int
	videos  int // since start
	bar     *mpb.Bar
	state   atomic.Pointer[barState] // what stands behind the bar; drawn by mpb's goroutine
}

// plainEvery is the least time between two plain lines inside an epoch.
const plainEvery = 10 * time.Second

// stage begins the display of a stage of which done steps were taken by an
// earlier run. Rate and ETA count only what this one does.
func (p *progress) stage(name string, epochs, steps, done int) *stageProgress {
	s := &stageProgress{progress: p, name: name, epochs: epochs, steps: steps, resumed: done, step: done, start: time.Now(), lastAt: time.Now()}
	if p.bars == nil {
		if done > 0 {
			p.println("%-22s goes on at step %d/%d", name, done+1, steps)
		}
		return s
	}
	s.bar = p.bars.AddBar(int64(steps),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-22s", name))),
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.Any(func(now decor.Statistics) string { return s.state.Load().fit(now.AvailableWidth) })),
	)
	s.bar.SetCurrent(int64(done))
	return s
}

// advance records one step over videos videos; loss is smoothed by the caller.
func (s *stageProgress) advance(epoch, videos int, loss float64) {
	s.step++
	s.videos += videos
	state := &barState{epoch: epoch, epochs: s.epochs, loss: loss, rate: s.rate(), eta: s.eta()}
	s.state.Store(state)
	if s.bar != nil {
		s.bar.Increment()
		return
	}
	if time.Since(s.lastAt) >= plainEvery {
		s.lastAt = time.Now()
		s.println("%-22s step %d/%d%s", s.name, s.step, s.steps, state.forms()[0])
	}
}

// barState is what stands behind a stage's bar; nil before the first step.
type barState struct {
	epoch, epochs int
	loss, rate    float64
	eta           time.Duration
}

// forms are the ways to write it, from long to short.
func (s *barState) forms() []string {
	return []string{
		fmt.Sprintf("  epoch %d/%d  loss %.4f  %.0f videos/s  ETA %s", s.epoch, s.epochs, s.loss, s.rate, s.eta),
		fmt.Sprintf("  %d/%d  loss %.4f  %.0f/s  ETA %s", s.epoch, s.epochs, s.loss, s.rate, s.eta),
		fmt.Sprintf("  loss %.4f  ETA %s", s.loss, s.eta),
		fmt.Sprintf("  ETA %s", s.eta),
	}
}

// leastBar is how much of a line the bar itself needs to say something.
const leastBar = 12

// fit is the longest form that leaves room for the bar in width columns.
func (s *barState) fit(width int) string {
	if s == nil {
		return ""
	}
	forms := s.forms()
	for _, form := range forms[:len(forms)-1] {
		if len(form)+leastBar <= width {
			return form
		}
	}
	return forms[len(forms)-1]
}

// rate is in videos a second since the stage began or was resumed.
func (s *stageProgress) rate() float64 {
	return float64(s.videos) / max(time.Since(s.start).Seconds(), 1e-3)
}

func (s *stageProgress) eta() time.Duration {
	taken := s.step - s.resumed
	if taken <= 0 {
		return 0
	}
	each := time.Since(s.start) / time.Duration(taken)
	return (each * time.Duration(s.steps-s.step)).Round(time.Second)
}

// epochDone shows an epoch's result; the best so far carries a star.
func (s *stageProgress) epochDone(epoch int, loss, spearman float64, best bool) {
	mark := ""
	if best {
		mark = " *"
	}
	s.lastAt = time.Now()
	s.println("%-22s epoch %d/%d  loss %.4f  held-out spearman %s%s  %.0f videos/s  ETA %s", s.name, epoch, s.epochs, loss, figure(spearman), mark, s.rate(), s.eta())
}

// done ends the stage's bar, also when the stage failed half-way.
func (s *stageProgress) done() {
	if s.bar != nil {
		s.bar.Abort(false)
	}
}

// figure writes a correlation, which is undefined for constant scores.
func figure(x float64) string {
	if math.IsNaN(x) {
		return "undefined"
	}
	return fmt.Sprintf("%.4f", x)
}

// count shows work that is a plain number of things; the result takes how many
// are done.
func (p *progress) count(name string, total int) func(done int) {
	if p.bars == nil {
		return func(done int) {
			if done == total {
				p.println("%-22s %d", name, total)
			}
		}
	}
	bar := p.bars.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-22s", name))),
		mpb.AppendDecorators(decor.CountersNoUnit("%d/%d"), decor.Name("  ETA "), decor.AverageETA(decor.ET_STYLE_GO)),
	)
	return func(done int) { bar.SetCurrent(int64(done)) }
}
