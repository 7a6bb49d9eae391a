package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"

	"github.com/fincart/courier-gateway/ingest/event"
)

// documentPath is the path of a fault of the file as a whole.
const documentPath = "$"

// Fault is one thing wrong with a configuration.
type Fault struct {
	Path    string `json:"path"` // the key; "$" is the file as a whole
	Message string `json:"message"`

	// Where it was written. Without a file it is set elsewhere or has its default.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1; 0 when it is not known
	Column int    `json:"column,omitempty"` // in bytes from 1; 0 when it is not known

	setBy string // the environment variable or flag
}

// String returns the fault as one line, with a place that editors and terminals can open.
func (f Fault) String() string {
	place := cmp.Or(f.setBy, f.File)
	if f.Line > 0 {
		place += fmt.Sprintf(":%d:%d", f.Line, f.Column)
	}
	switch {
	case f.Path == documentPath:
		return place + ": " + f.Message
	case place == "":
		return f.Path + ": " + f.Message
	default:
		return f.Path + ": " + f.Message + " (" + place + ")"
	}
}

// Faults is everything wrong with a configuration, as an error with a line for each.
type Faults []Fault

// Error lists the faults.
func (f Faults) Error() string {
	noun := "fault"
	if len(f) > 1 {
		noun = "faults"
	}
	var lines strings.Builder
	for _, one := range f {
		lines.WriteString("\n  " + one.String())
	}
	return fmt.Sprintf("%d %s in the configuration:%s", len(f), noun, lines.String())
}

// faults collects everything wrong with a configuration, by its keys.
type faults event.Faults

// add adds a fault about a key, unless one is known of it or an item of it: the first is
// the cause.
func (f *faults) add(key, format string, args ...any) {
	known := slices.ContainsFunc(*f, func(one event.Fault) bool { return one.Path == key || strings.HasPrefix(one.Path, key+"[") })
	(*event.Faults)(f).Check(known, key, format, args...)
}

// check adds a fault unless ok.
func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

func (f *faults) oneOf(key, value string, allowed ...string) {
	f.check(slices.Contains(allowed, value), key, "%q is none of %s", value, strings.Join(allowed, ", "))
}

func (f *faults) positive(key string, d time.Duration) {
	f.check(d > 0, key, "%s is not more than 0", d)
}

// of returns the faults of these keys and of those below them.
func (f faults) of(keys ...string) (some faults) {
	for _, fault := range f {
		for _, key := range keys {
			if within(fault.Path, key) {
				some = append(some, fault)
				break
			}
		}
	}
	return some
}

// err returns all faults as one error, nil when there are none.
func (f faults) err() error { return f.located(func(*Fault) {}) }

// located is err with a place for each fault, which locate adds.
func (f faults) located(locate func(*Fault)) error {
	if len(f) == 0 {
		return nil
	}
	all := make(Faults, len(f))
	for i, one := range f {
		all[i] = Fault{Path: one.Path, Message: one.Message + suggestionFor(one.Message)}
		locate(&all[i])
	}
	slices.SortStableFunc(all, func(a, b Fault) int { // by their places, those that have none last
		return cmp.Or(cmp.Compare(b.File, a.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return all
}

// choice finds the value and the choices in a message that a value is not among them:
// those of the schemes and payloads have this form, too.
var choice = regexp.MustCompile(`^"([^"]+)" is none of \[?([^\]]+?)\]?$`)

// suggestionFor adds to a message that names choices which of them may be meant.
func suggestionFor(message string) string {
	found := choice.FindStringSubmatch(message)
	if found == nil {
		return ""
	}
	return DidYouMean(found[1], strings.FieldsFunc(found[2], func(r rune) bool { return r == ',' || r == ' ' }))
}

// DidYouMean returns an addition to a message about a name that does not exist: which of
// those that do may be meant. It is empty when none is like it.
func DidYouMean(name string, existing []string) string {
	best, least := "", 1+min(3, (len(name)+2)/3)
	for _, one := range existing {
		d := levenshtein.ComputeDistance(folded(name), folded(one))
		if len(name) > 2 && strings.HasPrefix(folded(one), folded(name)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = one, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// folded returns a name as people confuse it with others.
func folded(name string) string { return strings.ReplaceAll(strings.ToLower(name), "-", "_") }

// describe returns the key that a decoding error is about, and what is wrong.
func describe(k *koanf.Koanf, err error) (key, message string) {
	e, ok := errors.AsType[*mapstructure.DecodeError](err)
	if !ok {
		return documentPath, err.Error()
	}
	key = dotted(e.Name())
	wanted, unknown := typeAt(strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' }))
	switch is := shown(k.Get(key), wanted); {
	case unknown != nil:
		return key, "does not fit here"
	case wanted == reflect.TypeFor[CourierSecret](): // decodeSecret says what is wrong with one
		return key, e.Unwrap().Error()
	case is == "":
		return key, "must be " + kindOf(wanted)
	default:
		return key, "is " + is + ", and must be " + kindOf(wanted)
	}
}

// kindOf says in TOML's words what a setting of a type is.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return `a duration with its units, such as "90s" or "1h30m"`
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.String:
		return "a text in quotes"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Map || t.Kind() == reflect.Struct:
		return "a table"
	default:
		return "a whole number"
	}
}

// shown describes a value, "" for an item of a list. Only of what can't be a secret it has
// the text itself.
func shown(value any, wanted reflect.Type) string {
	switch v := value.(type) {
	case string:
		if wanted != nil && slices.Contains([]reflect.Kind{reflect.Bool, reflect.Float64, reflect.Int, reflect.Int64}, wanted.Kind()) {
			return fmt.Sprintf("the text %q", v)
		}
		return "a text"
	case bool:
		return fmt.Sprint(v)
	case int64, int, float64:
		return fmt.Sprintf("the number %v", v)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	case nil:
		return ""
	default:
		return "a date or a time"
	}
}

// exactNumbers refuses a number where a duration is wanted, which would count
// nanoseconds, a fraction where a whole number is, and true where any number is.
func exactNumbers(from, to reflect.Type, value any) (any, error) {
	fraction, isFloat := value.(float64)
	isNumber := from.Kind() == reflect.Int64 && from != to || isFloat
	number := []reflect.Kind{reflect.Int, reflect.Int64, reflect.Float64}
	switch {
	case from.Kind() == reflect.Bool && slices.Contains(number, to.Kind()):
		return nil, errors.New("is no number")
	case to == reflect.TypeFor[time.Duration]() && isNumber && !reflect.ValueOf(value).IsZero():
		return nil, errors.New("has no unit")
	case isFloat && (to.Kind() == reflect.Int || to.Kind() == reflect.Int64) && fraction != math.Trunc(fraction):
		return nil, errors.New("is not whole")
	}
	return value, nil
}

// typeAt returns the type that a key, in its parts, has in [Config]; of an item of a
// list the last part is its number. What a map has may have dots in its name, such as
// the claims of a token.
func typeAt(key []string) (reflect.Type, *unknownKey) {
	at := reflect.TypeFor[Config]()
	for i, part := range key {
		switch at.Kind() {
		case reflect.Map, reflect.Slice:
			at = at.Elem()
		case reflect.Struct:
			fields := reflect.VisibleFields(at)
			name, _, item := strings.Cut(part, "[")
			n := slices.IndexFunc(fields, func(f reflect.StructField) bool { return keyOf(f) == name })
			if n < 0 {
				return nil, &unknownKey{i, keysOf(fields)}
			}
			if at = fields[n].Type; item && at.Kind() == reflect.Slice {
				at = at.Elem()
			}
		default:
			return nil, &unknownKey{i, nil}
		}
	}
	return at, nil
}

// unknownKey says what is known about a key that does not exist.
type unknownKey struct {
	parts  int      // that do exist
	others []string // that could follow them
}

// unknown adds a fault about a key, in its parts, unless it exists: about the first part
// that does not.
func (f *faults) unknown(key []string) {
	_, unknown := typeAt(key)
	if unknown == nil {
		return
	}
	name := key[unknown.parts]
	hint := DidYouMean(name, unknown.others)
	if elsewhere := sections(name); hint == "" && unknown.parts == 0 && len(elsewhere) > 0 {
		hint = "; did you mean " + strings.Join(elsewhere, " or ") + "?"
	}
	f.add(strings.Join(key[:unknown.parts+1], "."), "there is no such key%s", hint)
}

// unknownItems adds a fault about each key of a table in a list, at key, that does not exist.
// Secrets are decoded by code of their own, which says so itself.
func (f *faults) unknownItems(key []string, list any) {
	items, _ := list.([]any)
	if of, unknown := typeAt(key); unknown != nil || of == reflect.TypeFor[[]CourierSecret]() {
		return
	}
	for i, item := range items {
		table, _ := item.(map[string]any)
		at := slices.Clone(key)
		at[len(at)-1] += "[" + strconv.Itoa(i) + "]"
		for _, name := range slices.Sorted(maps.Keys(table)) {
			f.unknown(append(slices.Clone(at), name))
		}
	}
}

// sections returns the keys of this name that are one level below the top.
func sections(name string) (keys []string) {
	for _, section := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if section.Type.Kind() != reflect.Struct {
			continue
		}
		if slices.Contains(keysOf(reflect.VisibleFields(section.Type)), name) {
			keys = append(keys, keyOf(section)+"."+name)
		}
	}
	return keys
}

func keysOf(fields []reflect.StructField) (keys []string) {
	for _, field := range fields {
		if key := keyOf(field); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}
