package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// TestPresetsHaveNoOtherKeys finds what is mistyped in presets.toml.
func TestPresetsHaveNoOtherKeys(t *testing.T) {
	values, err := toml.Parser().Unmarshal(presetsFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		k := koanf.New(".")
		if err := k.Load(confmap.Provider(value.(map[string]any), "."), nil); err != nil {
			t.Fatal(err)
		}
		for _, key := range k.Keys() {
			_, unknown := typeAt(append([]string{"couriers", name}, k.KeyMap()[key][1:]...))
			ok := strings.HasPrefix(key, "courier.")
			if ok && unknown != nil || !ok && !slices.Contains(configKeys(reflect.TypeFor[Preset](), ""), "."+key) {
				t.Errorf("preset %s has an unknown key %s", name, key)
			}
		}
	}
}
