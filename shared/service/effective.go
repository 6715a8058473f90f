package service

import (
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// hidden stands for a secret that is set.
const hidden = "(hidden)"

// logEffective logs what is in force, once: the flags of the selected command
// with their final values, whatever source they came from.
func logEffective(log *slog.Logger, command *kong.Context) {
	var settings []any
	for _, flag := range command.Flags() {
		if configurable(flag) {
			settings = append(settings, slog.Any(flag.Name, loggable(flag)))
		}
	}
	log.Info("configuration", slog.String("command", command.Command()), slog.Group("settings", settings...))
}

// loggable is a flag's value without secrets.
func loggable(flag *kong.Flag) any {
	if flag.Tag.Has("secret") {
		if flag.Target.IsZero() {
			return ""
		}
		return hidden
	}
	if flag.Target.Kind() == reflect.Slice || flag.Target.Kind() == reflect.Map {
		return withoutPasswords(fmt.Sprint(flag.Target.Interface()))
	}
	if stringer, ok := flag.Target.Interface().(fmt.Stringer); ok {
		return stringer.String()
	}
	if flag.Target.Kind() == reflect.String {
		return withoutPasswords(flag.Target.String())
	}
	return flag.Target.Interface()
}

// withoutPasswords hides the password of every URL in s, a list of URLs as
// NATS takes it included. A user without a password is a NATS token.
func withoutPasswords(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '[' || r == ']' })
	for _, part := range parts {
		u, err := url.Parse(part)
		if err != nil || u.User == nil {
			continue
		}
		if _, has := u.User.Password(); !has {
			u.User = url.UserPassword("token", "")
		}
		s = strings.ReplaceAll(s, part, u.Redacted())
	}
	return s
}
