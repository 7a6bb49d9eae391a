package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// faults collects everything wrong with a configuration, by its keys.
type faults event.Faults

// add adds a fault about a key, unless one is known: the first is the cause.
func (f *faults) add(key, format string, args ...any) {
	known := slices.ContainsFunc(*f, func(one event.Fault) bool { return one.Path == key })
	(*event.Faults)(f).Check(known, key, format, args...)
}

// check adds a fault unless ok.
func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

func (f *faults) oneOf(key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	f.add(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
}

func (f *faults) positive(key string, d time.Duration) {
	f.check(d > 0, key, "%s is not more than 0", d)
}

// of returns the faults of these keys and of those below them.
func (f faults) of(keys ...string) (some faults) {
	for _, fault := range f {
		for _, key := range keys {
			if fault.Path == key || strings.HasPrefix(fault.Path, key+".") || strings.HasPrefix(fault.Path, key+"[") {
				some = append(some, fault)
				break
			}
		}
	}
	return some
}

// err returns all faults as one error, nil when there are none.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	noun := "fault"
	if len(f) > 1 {
		noun = "faults"
	}
	var lines strings.Builder
	for _, one := range f {
		fmt.Fprintf(&lines, "\n  %s: %s", one.Path, one.Message)
	}
	return fmt.Errorf("%d %s in the configuration:%s", len(f), noun, lines.String())
}
