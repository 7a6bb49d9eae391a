package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// preset is a sender that is known.
type preset struct {
	About      string // one line
	Docs       string // the sender's own page
	Secret     string // what the operator has to put into secrets
	Manners    string // time-outs, retries and order that the sender documents
	Unverified bool   // the settings come from a third party's description
	courier    map[string]any
}

// presets returns every preset by name.
var presets = sync.OnceValues(func() (map[string]preset, error) {
	tables, err := toml.Parser().Unmarshal(presetsFile)
	if err != nil {
		return nil, fmt.Errorf("read the presets: %w", err)
	}
	all := map[string]preset{}
	for name, value := range tables {
		table, _ := value.(map[string]any)
		p := preset{}
		p.About, _ = table["about"].(string)
		p.Docs, _ = table["docs"].(string)
		p.Secret, _ = table["secret"].(string)
		p.Manners, _ = table["manners"].(string)
		p.Unverified, _ = table["unverified"].(bool)
		p.courier, _ = table["courier"].(map[string]any)
		all[name] = p
	}
	return all, nil
})

// expand puts under each courier's settings those of its preset, key by key.
func (l *Loaded) expand(k *koanf.Koanf) error {
	all, err := presets()
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
			l.faults.add(key+".preset", "%q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
			continue
		}
		if err := l.underlay(k, key, name, p.courier); err != nil {
			return fmt.Errorf("preset %s: %w", name, err)
		}
	}
	return nil
}

// underlay sets below key what a preset has and nobody else has set.
func (l *Loaded) underlay(k *koanf.Koanf, key, name string, settings map[string]any) error {
	whole := koanf.New(".")
	if err := whole.Load(confmap.Provider(settings, "."), nil); err != nil {
		return err
	}
	for _, sub := range whole.Keys() {
		if at := key + "." + sub; l.origins[at] == "" {
			l.origins[at] = "preset " + name
		}
	}
	if err := whole.Merge(k.Cut(key)); err != nil {
		return err
	}
	return k.MergeAt(whole, key)
}
