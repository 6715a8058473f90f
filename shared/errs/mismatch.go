package errs

// Mismatch is what an error is about, in parts, where a program lists mistakes
// and not only prints them: what a field should hold, and what it holds.
type Mismatch struct{ Expected, Found string }

func (m *Mismatch) Error() string { return "expected " + m.Expected + ", found " + m.Found }

// Unlike makes an error of Kind k about a field that holds found where expected
// was expected; errors.As finds the Mismatch in it.
func Unlike(k Kind, field, expected, found string) error {
	return &Error{Kind: k, Field: field, Err: &Mismatch{expected, found}}
}
