package trainer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// dataProblem is one thing that is wrong with the data, and where.
type dataProblem struct {
	Kind   string `json:"kind"` // what is counted together
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // of a text file, from 1; 0: the place is a record
	Record int    `json:"record"`         // of a TFRecord file, from 0
	Offset int64  `json:"offset"`         // of the record's first byte
	ID     string `json:"id,omitempty"`   // of the video, where known

	Field    string `json:"field,omitempty"`
	Expected string `json:"expected"`
	Found    string `json:"found"`

	// Used says that the record or line is used all the same.
	Used bool `json:"used,omitempty"`
	// Lost is how many bytes of a file were passed over.
	Lost int64 `json:"lost,omitempty"`

	corrupt bool // bytes that fail their own check, not values
}

// place is the line or the record, as a person looks it up.
func (p dataProblem) place() string {
	if p.Line > 0 {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("record %d at byte %d", p.Record, p.Offset)
}

// Error is the problem in the form of every other error about data.
func (p dataProblem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", p.File, p.place())
	if p.ID != "" {
		fmt.Fprintf(&b, ", video %q", p.ID)
	}
	if p.Field != "" {
		fmt.Fprintf(&b, ", %s", p.Field)
	}
	fmt.Fprintf(&b, ": expected %s, found %s", p.Expected, p.Found)
	return b.String()
}

// fault is the problem as an error with a Kind.
func (p dataProblem) fault() error {
	kind := errs.Invalid
	if p.corrupt {
		kind = errs.Corrupt
	}
	return &errs.Error{Kind: kind, Err: p}
}

// tally counts the problems of one kind and lists the first of them.
type tally struct {
	Kind   string        `json:"kind"`
	Count  int           `json:"count"`
	Lost   int64         `json:"lost,omitempty"`
	Listed []dataProblem `json:"listed"`
}

// maxListed bounds what is kept of each kind; tally.Count has them all. There
// are about twenty kinds.
const maxListed = 100

// problems is what is wrong with a run's data. With strict the first one ends
// the run; otherwise all are counted and what can be used is.
type problems struct {
	strict  bool
	tallies []tally // in order of their first problem
}

// note takes a problem down, or returns it as an error.
func (p *problems) note(x dataProblem) error {
	if p.strict {
		return x.fault()
	}
	p.add(tally{Kind: x.Kind, Count: 1, Lost: x.Lost, Listed: []dataProblem{x}})
	return nil
}

// merge takes down what one file's scan has found.
func (p *problems) merge(tallies []tally) error {
	for _, t := range tallies {
		if p.strict && len(t.Listed) > 0 {
			return t.Listed[0].fault()
		}
		p.add(t)
	}
	return nil
}

func (p *problems) add(t tally) {
	for i := range p.tallies {
		if have := &p.tallies[i]; have.Kind == t.Kind {
			have.Count += t.Count
			have.Lost += t.Lost
			have.Listed = append(have.Listed, t.Listed[:min(len(t.Listed), maxListed-len(have.Listed))]...)
			return
		}
	}
	t.Listed = append([]dataProblem(nil), t.Listed[:min(len(t.Listed), maxListed)]...)
	p.tallies = append(p.tallies, t)
}

// count is how many problems there are.
func (p *problems) count() int {
	n := 0
	for _, t := range p.tallies {
		n += t.Count
	}
	return n
}

// explain adds the first problem to an error that may well come of it.
func (p *problems) explain(err error) error {
	if err == nil || p.count() == 0 {
		return err
	}
	return fmt.Errorf("%w; %d problems with the data, the first: %w", err, p.count(), p.tallies[0].Listed[0])
}

// show writes the list for a person: every kind with its count and its first
// few places. path names the file that has the rest; "" where there is none.
func (p *problems) show(w io.Writer, path string) error {
	if p.count() == 0 {
		return nil
	}
	const few = 3
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%d problems with the data", p.count())
	if path != "" {
		fmt.Fprintf(b, " (listed in %s)", path)
	}
	fmt.Fprintln(b, ":")
	for _, t := range p.tallies {
		fmt.Fprintf(b, "%7d  %s, %s", t.Count, t.Kind, outcome(t.Listed[0]))
		if t.Lost > 0 {
			fmt.Fprintf(b, ", %d bytes passed over", t.Lost)
		}
		fmt.Fprintln(b)
		for _, x := range t.Listed[:min(few, len(t.Listed))] {
			fmt.Fprintf(b, "         %v\n", x)
		}
	}
	return b.Flush()
}

func outcome(x dataProblem) string {
	if x.Used {
		return "used all the same"
	}
	return "left out"
}

// problemColumns is the first line of problems.tsv.
const problemColumns = "kind\tfile\tline\trecord\tbyte\tid\tfield\texpected\tfound\toutcome"

// write writes problems.tsv: a line a problem, at most maxListed of a kind, and
// a last line a kind that has more.
func (p *problems) write(path string) error {
	return writeFile(path, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		fmt.Fprintln(b, problemColumns)
		for _, t := range p.tallies {
			for _, x := range t.Listed {
				line, record, offset := strconv.Itoa(x.Line), "", ""
				if x.Line == 0 {
					line, record, offset = "", strconv.Itoa(x.Record), strconv.FormatInt(x.Offset, 10)
				}
				columns := []string{x.Kind, x.File, line, record, offset, x.ID, x.Field, x.Expected, x.Found, outcome(x)}
				for i, c := range columns {
					columns[i] = strings.Map(oneLine, c)
				}
				fmt.Fprintln(b, strings.Join(columns, "\t"))
			}
			if more := t.Count - len(t.Listed); more > 0 {
				fmt.Fprintf(b, "%s\t\t\t\t\t\t\t\tand %d more\t%s\n", t.Kind, more, outcome(t.Listed[0]))
			}
		}
		return b.Flush()
	})
}

// oneLine keeps a text inside its column.
func oneLine(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

// recordProblem is the problem that an error of a scan is. Errors that are none
// about a record have no expected and found, and are the caller's to return.
func recordProblem(s video.Scanned) dataProblem {
	x := dataProblem{Record: s.Record, Offset: s.Offset, Lost: s.Lost, corrupt: errs.KindOf(s.Err) == errs.Corrupt}
	var at *video.RecordError
	if errors.As(s.Err, &at) {
		x.File = at.File
	}
	x.Field, x.Expected, x.Found = parts(s.Err)
	x.Kind = x.Field
	if !strings.HasPrefix(x.Kind, "record ") {
		x.Kind = "record " + x.Kind
	}
	return x
}

// lineProblem is the problem that an error about a line of a text file is.
func lineProblem(path, what string, line int, err error) dataProblem {
	x := dataProblem{File: path, Line: line}
	x.Field, x.Expected, x.Found = parts(err)
	if _, name, ok := strings.Cut(x.Field, ", "); ok { // "line 3, label"
		x.Field, x.Kind = name, what+" "+strings.TrimRight(name, " 12") // both ids count together
	} else {
		x.Field, x.Kind = "", what+" line"
	}
	return x
}

func parts(err error) (field, expected, found string) {
	var m *errs.Mismatch
	if errors.As(err, &m) {
		return errs.FieldOf(err), m.Expected, m.Found
	}
	return errs.FieldOf(err), "something that can be read", err.Error()
}

// announceProblems logs how many problems of each kind the data has and writes
// problems.tsv, empty but for its first line where there are none.
func (r *run) announceProblems() error {
	for _, t := range r.corpus.problems.tallies {
		r.log.Warn("problem with the data", "kind", t.Kind, "count", t.Count, "outcome", outcome(t.Listed[0]), "lost_bytes", t.Lost, "first", t.Listed[0].Error())
	}
	if err := r.corpus.problems.write(r.problemsPath()); err != nil {
		return fmt.Errorf("write the problems with the data: %w", err)
	}
	return nil
}

// showProblems lists them at the end of a run, where a person looks.
func (r *run) showProblems() {
	if err := r.corpus.problems.show(r.progress.out, r.problemsPath()); err != nil {
		r.log.Error("list the problems with the data", "error", err)
	}
}

func (r *run) problemsPath() string { return filepath.Join(r.cfg.Work, "problems.tsv") }
