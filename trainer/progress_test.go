package trainer

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	st := p.stage("finetune late", 2, 4, 0)
	for range 2 {
		st.advance(1, 8, 0.25)
	}
	st.epochDone(1, 0.25, 0.5, true)
	st.epochDone(2, 0.2, math.NaN(), false)
	st.done()
	p.wait()
	for _, want := range []string{"epoch 1/2  loss 0.2500  held-out spearman 0.5000 *", "spearman undefined ", "videos/s", "ETA"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the progress does not say %q:\n%s", want, out.String())
		}
	}
}

// A resumed stage counts its rate and what is left by its own steps alone.
func TestResumedProgress(t *testing.T) {
	var out bytes.Buffer
	st := newProgress(&out).stage("pretrain text", 10, 1000, 900)
	if st.eta() != 0 || st.rate() != 0 {
		t.Errorf("before its first step: ETA %v, rate %v", st.eta(), st.rate())
	}
	st.start = st.start.Add(-10 * time.Second)
	for range 10 {
		st.advance(10, 32, 1)
	}
	if eta := st.eta().Seconds(); eta < 89 || eta > 95 { // 90 steps of 1 s
		t.Errorf("ETA %v s, want 90", eta)
	}
	if rate := st.rate(); math.Abs(rate-32) > 1 {
		t.Errorf("%v videos/s, want 32", rate)
	}
	if !strings.Contains(out.String(), "goes on at step 901/1000") {
		t.Errorf("said %q", out.String())
	}
}

// terminal opens a pseudo-terminal of some columns. What is written to tty is
// collected until it is closed.
func terminal(t *testing.T, columns uint16) (tty *os.File, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(&all, master) // a closed terminal ends in EIO
	}()
	return tty, func() string {
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
		<-ended
		if err := master.Close(); err != nil {
			t.Error(err)
		}
		return all.String()
	}
}

// show runs a resumed stage on a terminal and returns what was written.
func show(t *testing.T, columns uint16) string {
	tty, written := terminal(t, columns)
	p := newProgress(tty)
	st := p.stage("pretrain cross-modal", 20, 100, 50)
	for step := 51; step <= 100; step++ {
		st.advance(step/5, 256, 0.1234)
		time.Sleep(10 * time.Millisecond)
	}
	st.epochDone(20, 0.12, 0.8, true)
	st.done()
	p.wait()
	return written()
}

// On a terminal there is one bar, however narrow, and it begins where the
// stage was resumed.
func TestProgressOnTerminals(t *testing.T) {
	t.Setenv("TERM", "xterm")
	escape := regexp.MustCompile("\x1b\\[[0-9;]*[a-zA-Z]")
	for columns, says := range map[uint16]string{
		160: "epoch 20/20  loss 0.1234",
		80:  "20/20  loss 0.1234",
		50:  "ETA",
		30:  "",
	} {
		out := show(t, columns)
		first := true
		for line := range strings.FieldsFuncSeq(escape.ReplaceAllString(out, "\n"), func(r rune) bool { return r == '\n' || r == '\r' }) {
			if strings.Contains(line, "held-out spearman") || !strings.HasPrefix(line, "pretrain cross-modal") {
				continue
			}
			if n := utf8.RuneCountInString(line); n > int(columns) {
				t.Errorf("%d columns: a line of %d: %q", columns, n, line)
			}
			if columns >= 50 && !strings.Contains(line, "[") {
				t.Errorf("%d columns: no bar in %q", columns, line)
			}
			if first && columns >= 50 && !regexp.MustCompile(`(5|6)\d ?%`).MatchString(line) {
				t.Errorf("%d columns: begins with %q, want 50 %%", columns, line)
			}
			first = false
		}
		if first || !strings.Contains(out, says) || !strings.Contains(out, "held-out spearman 0.8000 *") {
			t.Errorf("%d columns: want %q and the epoch's result in\n%q", columns, says, out)
		}
	}
}

// Without cursor movement there are plain lines, and colours are never used.
func TestProgressOnADumbTerminal(t *testing.T) {
	t.Setenv("TERM", "dumb")
	if out := show(t, 80); strings.Contains(out, "\x1b") || !strings.Contains(out, "goes on at step 51/100") {
		t.Errorf("a dumb terminal got %q", out)
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if colour := regexp.MustCompile("\x1b\\[[0-9;]*m").FindString(show(t, 80)); colour != "" {
		t.Errorf("a colour: %q", colour)
	}
}
