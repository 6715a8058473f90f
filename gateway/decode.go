package gateway

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"videosim/shared/errs"
)

// lenientText replaces invalid UTF-8 in answers, which stored titles of other
// producers could carry, instead of failing.
var lenientText = jsontext.AllowInvalidUTF8(true)

// strict refuses what a decoder usually forgives: unknown and repeated names,
// names in another case, null for a value, invalid UTF-8, and anything behind
// the value.
var strict = json.JoinOptions(json.RejectUnknownMembers(true), json.MatchCaseInsensitiveNames(false),
	json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(readFloats), json.UnmarshalFromFunc(refuseNull))))

// readFloats reads a list of numbers, an embedding of hundreds, without a
// detour through refuseNull for each. What is no number, or too large for
// one, goes the usual way and fails there.
func readFloats(dec *jsontext.Decoder, out *[]float32) error {
	if dec.PeekKind() != '[' {
		return json.SkipFunc
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	list := make([]float32, 0, 256) // the usual dimension; [] is a list, unlike none
	for kind := dec.PeekKind(); kind != ']'; kind = dec.PeekKind() {
		if kind != '0' {
			var x float32
			if err := json.UnmarshalDecode(dec, &x); err != nil {
				return err
			}
			return errNumber // not reached: nothing but a number becomes a float
		}
		number, err := dec.ReadValue()
		if err != nil {
			return err
		}
		wide, err := strconv.ParseFloat(string(number), 32)
		if err != nil {
			return &json.SemanticError{JSONPointer: dec.StackPointer(), JSONKind: kind, JSONValue: number.Clone(), GoType: reflect.TypeFor[float32](), Err: err}
		}
		list = append(list, float32(wide))
	}
	*out = list
	_, err := dec.ReadToken()
	return err
}

var errNumber = errors.New("expected a number")

// refuseNull looks at every value before it is decoded: null, which would
// otherwise pass as zero or as nothing, is no number and no text.
func refuseNull(dec *jsontext.Decoder, _ any) error {
	if dec.PeekKind() == 'n' {
		return errNull
	}
	return json.SkipFunc
}

var errNull = errors.New("expected a value, found null; leave the name out instead")

// readJSON decodes the body into out. Errors name the field as a path:
// "positive[0].embedding[3]".
func readJSON(c *gin.Context, out any) error {
	if err := wantJSON(c); err != nil {
		return err
	}
	body, err := readBody(c)
	if err != nil {
		return err
	}
	return decodeJSON(body, out)
}

// readBody reads the whole body, which the body limit bounds. A body that ends
// early or too late is the caller's fault.
func readBody(c *gin.Context) ([]byte, error) {
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return nil, errs.New(errs.Invalid, "read the body: %w", err)
	}
	return body, nil
}

func decodeJSON(body []byte, out any) error {
	if len(body) == 0 {
		return errs.New(errs.Invalid, "expected a JSON object, found an empty body")
	}
	err := json.Unmarshal(body, out, strict)
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return errs.Field(fieldOf(semantic.JSONPointer), "%s", semanticText(semantic))
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return errs.Field(fieldOf(syntax.JSONPointer), "not JSON at byte %d: %s", syntax.ByteOffset, syntax.Err)
	}
	return errs.New(errs.Invalid, "not JSON: %s", err)
}

func semanticText(e *json.SemanticError) string {
	switch {
	case errors.Is(e.Err, json.ErrUnknownName):
		return "expected a known name, found this one"
	case errors.Is(e.Err, errNull):
		return errNull.Error()
	case e.GoType == nil && e.Err != nil:
		return e.Err.Error()
	case e.GoType == nil:
		return "cannot be read"
	}
	const most = 64 // a wrong value may be as long as the body
	found := foundName(e.JSONKind)
	if n := len(e.JSONValue); n > 0 && n < most {
		found = string(e.JSONValue)
	}
	return fmt.Sprintf("expected %s, found %s", expectedName(e.GoType), found)
}

// expectedName is what a caller writes for a Go type.
func expectedName(t reflect.Type) string {
	if t == reflect.TypeFor[time.Time]() {
		return "a time such as \"2025-03-01T00:00:00Z\""
	}
	switch t.Kind() {
	case reflect.Pointer:
		return expectedName(t.Elem())
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number of 0 or more"
	case reflect.Float32, reflect.Float64:
		return "a finite number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

func foundName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "a list"
	case '{':
		return "an object"
	}
	return "something else"
}

// fieldOf spells a JSON pointer as people write paths: /a/0/b is a[0].b.
// An empty pointer is the body itself.
func fieldOf(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 32); err == nil && b.Len() > 0 {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(token)
	}
	const most = 200 // a caller's own name may be as long as the body
	if b.Len() > most {
		return strings.ToValidUTF8(b.String()[:most], "") + "…"
	}
	return b.String()
}

// wantJSON accepts JSON by any of the names that people's tools send it
// under: curl -d says it is a form.
func wantJSON(c *gin.Context) error {
	switch media, err := contentType(c); {
	case err != nil:
		return err
	case media == "", media == "application/json", media == formType:
		return nil
	default:
		return unsupported("application/json", media)
	}
}

const formType = "application/x-www-form-urlencoded"

// contentType also refuses bodies that are packed: read as they are they would
// only be called bad JSON or a bad line.
func contentType(c *gin.Context) (string, error) {
	if packed := c.GetHeader("Content-Encoding"); packed != "" && !strings.EqualFold(packed, "identity") {
		c.Header("Accept-Encoding", "identity")
		return "", &refusal{"unsupported-media-type", 415, errs.Field("Content-Encoding", "expected none, found %q: send the body as it is", packed)}
	}
	header := c.GetHeader("Content-Type")
	if header == "" {
		return "", nil
	}
	media, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", unsupported("a content type", header)
	}
	return media, nil
}

func unsupported(expected, found string) error {
	return &refusal{"unsupported-media-type", 415, errs.Field("Content-Type", "expected %s, found %q", expected, found)}
}
