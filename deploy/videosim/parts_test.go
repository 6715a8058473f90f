package videosim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// record runs parts that note when they end.
type record struct {
	mu    sync.Mutex
	ended []string
}

func (r *record) part(name string, err error) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(10 * time.Millisecond) // as long as work in hand takes
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = append(r.ended, name)
		return err
	}}
}

func TestPartsStopInReverse(t *testing.T) {
	var r record
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := operate(ctx, []part{r.part("store", nil), r.part("work", nil), r.part("ask", nil)}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"ask", "work", "store"}; !slices.Equal(r.ended, want) {
		t.Errorf("stopped in the order %v, expected %v", r.ended, want)
	}
}

func TestPartThatFailsStopsTheOthers(t *testing.T) {
	var r record
	broken := errors.New("broken")
	err := operate(t.Context(), []part{
		r.part("store", nil),
		{"work", func(context.Context) error { return broken }},
		r.part("ask", errors.New("a consequence")),
	})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "work: ") {
		t.Errorf("error %v, expected the first one with its part's name", err)
	}
	if want := []string{"ask", "store"}; !slices.Equal(r.ended, want) {
		t.Errorf("stopped %v, expected %v", r.ended, want)
	}
}

func TestPartThatEndsByItselfIsAnError(t *testing.T) {
	err := operate(t.Context(), []part{{"work", func(context.Context) error { return nil }}})
	if err == nil || !strings.Contains(err.Error(), "work: ended by itself") {
		t.Errorf("error %v, expected that work ended by itself", err)
	}
}

func TestPartStoppedWhileStartingIsNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := operate(ctx, []part{{"work", func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("connect: %w", ctx.Err())
	}}})
	if err != nil {
		t.Errorf("error %v, expected none of a part that was told to stop", err)
	}
}
