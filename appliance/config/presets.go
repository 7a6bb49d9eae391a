package config

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// presetsFile describes the senders that are known, each in the words of the
// configuration, so that a preset is an example as well.
//
//go:embed presets.toml
var presetsFile []byte

// Preset is a sender that is known. The head of the file says what each key is for.
type Preset struct {
	About       string         `koanf:"about"`
	Docs        string         `koanf:"docs"`
	Unverified  bool           `koanf:"unverified"`
	Setup       string         `koanf:"setup"`
	Secret      string         `koanf:"secret"`
	Expects     string         `koanf:"expects"`
	Verified    Verified       `koanf:"verified"`
	Addresses   []string       `koanf:"addresses"`
	CourierName string         `koanf:"courier_name"`
	Courier     map[string]any `koanf:"courier"`
}

// Verified says what a preset was compared with.
type Verified struct {
	Signature Verification `koanf:"signature" json:"signature"`
	States    Verification `koanf:"states" json:"states"` // the payload, and what its statuses mean
}

// Verification is what one part of a preset was compared with, and the day on which it was.
type Verification struct {
	Against string `koanf:"against" json:"against"`
	On      string `koanf:"on" json:"on"` // such as 2026-11-30
}

// String is a line for people.
func (v Verification) String() string { return v.Against + " (" + v.On + ")" }

// Presets returns every preset by name. The map is shared: it must not be changed.
func Presets() (map[string]Preset, error) { return readPresets() }

var readPresets = sync.OnceValues(func() (map[string]Preset, error) {
	tables, err := toml.Parser().Unmarshal(presetsFile)
	if err != nil {
		return nil, fmt.Errorf("read the presets: %w", err)
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(tables, ""), nil); err != nil {
		return nil, fmt.Errorf("read the presets: %w", err)
	}
	all := map[string]Preset{}
	if err := k.Unmarshal("", &all); err != nil {
		return nil, fmt.Errorf("read the presets: %w", err)
	}
	return all, nil
})

// expand puts under each courier's settings those of its preset, key by key.
func (l *Loaded) expand(k *koanf.Koanf) error {
	all, err := Presets()
	if err != nil {
		return err
	}
	for _, courier := range k.MapKeys("couriers") {
		key := "couriers." + courier
		name := k.String(key + ".preset")
		if name == "" {
			continue
		}
		p, known := all[name]
		if !known {
			l.faults.add(key+".preset", "there is no preset %q%s (`appliance couriers presets` lists all)", name, DidYouMean(name, slices.Collect(maps.Keys(all))))
			continue
		}
		if err := l.underlay(k, key, name, p.Courier); err != nil {
			return fmt.Errorf("preset %s: %w", name, err)
		}
	}
	return nil
}

// underlay sets below key what a preset has and no other source has set.
func (l *Loaded) underlay(k *koanf.Koanf, key, name string, settings map[string]any) error {
	whole := koanf.New(".")
	if err := whole.Load(confmap.Provider(settings, "."), nil); err != nil {
		return err
	}
	for _, sub := range whole.Keys() {
		if at := key + "." + sub; l.Origins[at] == "" {
			l.Origins[at] = "preset " + name
		}
	}
	if err := whole.Merge(k.Cut(key)); err != nil {
		return err
	}
	return k.MergeAt(whole, key)
}
