package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"

	"github.com/fincart/courier-gateway/jetstream"
)

// Setting is one line of `config show`.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// Settings returns every key with its effective value and origin, sorted.
func (l *Loaded) Settings() ([]Setting, error) {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(l.Config, "koanf"), nil); err != nil {
		return nil, err
	}
	var all []Setting
	for key, value := range k.All() {
		if strings.HasPrefix(key, "couriers.") && l.Origin(key) == "default" && reflect.ValueOf(value).IsZero() {
			continue // what a courier could have and has not
		}
		if table := reflect.ValueOf(value); table.Kind() == reflect.Map && table.Len() > 0 { // its items come from different places
			for name, item := range table.Seq2() {
				under := key + "." + name.String()
				all = append(all, Setting{under, printable(item.Interface()), l.Origin(under)})
			}
			continue
		}
		all = append(all, Setting{key, printable(value), l.Origin(key)})
	}
	slices.SortFunc(all, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// printable renders durations as they are written; secrets print as their
// references, see [Secret.String], and addresses without credentials: a user without
// a password is a token to NATS.
func printable(value any) any {
	switch v := value.(type) {
	case []string:
		shown := []string{}
		for _, s := range v {
			shown = append(shown, jetstream.WithoutCredentials(s))
		}
		return shown
	case fmt.Stringer:
		return v.String()
	case []Secret:
		return texts(v)
	case []CourierSecret:
		return texts(v)
	default:
		return v
	}
}

// texts returns what each item calls itself.
func texts[T fmt.Stringer](items []T) []string {
	names := []string{}
	for _, item := range items {
		names = append(names, item.String())
	}
	return names
}

// RestartNeeded names the settings that differ from the active ones and are not
// taken over while running.
func (l Loaded) RestartNeeded(now Loaded) ([]string, error) {
	before, err := l.Settings()
	if err != nil {
		return nil, err
	}
	after, err := now.Settings()
	if err != nil {
		return nil, err
	}
	old := map[string]string{}
	for _, s := range before {
		old[s.Key] = fmt.Sprint(s.Value)
	}
	var changed []string
	for _, s := range after {
		reloaded := strings.HasPrefix(s.Key, "couriers") || strings.HasPrefix(s.Key, "admin.token") || s.Key == "ingest.default_courier"
		if !reloaded && old[s.Key] != fmt.Sprint(s.Value) {
			changed = append(changed, s.Key)
		}
	}
	return changed, nil
}
