package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// PresetInfo is what `couriers presets` prints of a known sender. What it shares with
// an active courier has the same names.
type PresetInfo struct {
	Name        string   `json:"name"`
	About       string   `json:"about"`
	Docs        string   `json:"docs"`
	Scheme      string   `json:"scheme"`
	Unverified  bool     `json:"unverified"`
	Binding     string   `json:"binding"`          // what of a request the signature covers, as a text
	BindsBody   bool     `json:"bindsBody"`        // all of the body
	Fresh       bool     `json:"fresh"`            // an old request is refused when it comes again
	Secret      string   `json:"secret,omitempty"` // what secrets has to hold; absent where it needs none
	Setup       string   `json:"setup"`
	Expects     string   `json:"expects"`
	Verified    Verified `json:"verified"`
	Addresses   []string `json:"addresses,omitempty"`
	CourierName string   `json:"courierName,omitempty"` // where the preset's name will not do
	TOML        string   `json:"toml,omitempty"`        // of one alone: all its settings
}

// PresetInfos describes every preset, in the order of their names.
func PresetInfos() ([]PresetInfo, error) {
	all, err := Presets()
	if err != nil {
		return nil, err
	}
	couriers, err := presetCouriers(all)
	if err != nil {
		return nil, err
	}
	infos := make([]PresetInfo, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		binding := signature.BindingOf(couriers[name].SignatureSettings())
		infos = append(infos, PresetInfo{
			Name: name, About: p.About, Docs: p.Docs, Scheme: couriers[name].Scheme, Unverified: p.Unverified,
			Binding: binding.String(), BindsBody: binding.Body, Fresh: binding.Fresh, Secret: p.Secret, Setup: p.Setup,
			Expects: p.Expects, Verified: p.Verified, Addresses: p.Addresses, CourierName: p.CourierName,
		})
	}
	return infos, nil
}

// presetCouriers returns the courier that each preset makes, but for its secrets.
func presetCouriers(all map[string]Preset) (map[string]Courier, error) {
	tables := map[string]any{}
	for name, p := range all {
		tables[name] = p.Courier
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(map[string]any{"couriers": tables}, ""), nil); err != nil {
		return nil, fmt.Errorf("read the presets: %w", err)
	}
	l := Loaded{Origins: map[string]string{}}
	l.decode(k, &l.faults)
	return l.Couriers, l.faults.err()
}

// Document returns the courier that the preset makes as TOML without a preset: the lines
// of the presets' file, with their comments.
func (p *PresetInfo) Document() string {
	courier := p.Name
	if p.CourierName != "" {
		courier = p.CourierName
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# Source: %s\n# Set up: %s\n# Expects: %s\n", p.About, p.Docs, p.Setup, p.Expects)
	fmt.Fprintf(&b, "# Signature, compared with: %s\n# States, compared with: %s\n", p.Verified.Signature, p.Verified.States)
	if p.Unverified {
		b.WriteString("# Not verified: it comes from another party's description, in whole or in part.\n")
	}
	if len(p.Addresses) > 0 {
		fmt.Fprintf(&b, "# Sends from: %s\n", strings.Join(p.Addresses, ", "))
	}
	ours := false
	for line := range strings.Lines(string(presetsFile)) {
		if table, ok := strings.CutPrefix(line, "["); ok { // a table's name; items of lists are indented
			below, under := strings.CutPrefix(table, p.Name+".courier")
			if ours = under; under {
				b.WriteString("[couriers." + courier + below)
			}
			if under && strings.HasPrefix(below, "]") {
				b.WriteString(p.additions(courier))
			}
		} else if ours {
			b.WriteString(line)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// additions are the settings that a preset leaves to the operator.
func (p *PresetInfo) additions(courier string) (lines string) {
	if p.Secret != "" {
		variable := strings.ToUpper(strings.ReplaceAll(courier, "-", "_")) + "_SECRET"
		lines = fmt.Sprintf("secrets = [\"env:%s\"] # %s\n", variable, p.Secret)
	}
	if p.Unverified {
		lines += "mode = \"observe\" # until its requests are seen to pass\n"
	}
	return lines
}
