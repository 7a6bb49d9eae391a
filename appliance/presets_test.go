package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/appliance/config/sendertest"
)

// runPresets runs `couriers presets` and returns what it prints.
func runPresets(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(t.Context(), append([]string{"couriers", "presets"}, args...), nil, &out, &errOut); code != wantCode {
		t.Fatalf("%v: exit %d: %s", args, code, errOut.String())
	}
	return out.String() + errOut.String()
}

// TestPresetsAreListed: the list says of each preset what a courier with it would
// say of itself.
func TestPresetsAreListed(t *testing.T) {
	t.Parallel()
	var list struct {
		Presets []config.PresetInfo `json:"presets"`
	}
	if err := json.Unmarshal([]byte(runPresets(t, 0, "--json")), &list); err != nil {
		t.Fatal(err)
	}
	table := runPresets(t, 0)
	presets := sendertest.Presets(t)
	if len(list.Presets) != len(presets) || strings.Count(table, "\n") != len(presets)+1 {
		t.Errorf("%d presets are listed and %d shown, there are %d", len(list.Presets), strings.Count(table, "\n")-1, len(presets))
	}
	for _, p := range list.Presets {
		is := presets[p.Name]
		scheme, _ := sendertest.Compile(t, &is.Courier, 0)
		b := scheme.Binding()
		if p.Scheme != is.Courier.Scheme || p.Binding != b.String() || p.BindsBody != b.Body || p.Fresh != b.Fresh {
			t.Errorf("%s is shown as %+v, and covers %+v", p.Name, p, b)
		}
		verified := map[bool]string{true: "no", false: "yes"}[is.Unverified]
		line := strings.Join([]string{p.Name, verified, p.Scheme, b.String(), is.About, is.Secret}, " ")
		if p.Unverified != is.Unverified || p.About != is.About || p.Secret != is.Secret || !strings.Contains(strings.Join(strings.Fields(table), " "), line) {
			t.Errorf("%s is shown as %+v, and its line is not %q", p.Name, p, line)
		}
	}
}

// TestPresetsAreSpeltOut: what is shown of a preset makes the same courier as the
// preset does.
func TestPresetsAreSpeltOut(t *testing.T) {
	t.Parallel()
	for name, p := range sendertest.Presets(t) {
		text := runPresets(t, 0, name)
		courier := name
		if p.CourierName != "" {
			courier = p.CourierName
		}
		l := sendertest.Load(t, text)
		if faults := l.Invalid(); len(faults) > 0 {
			t.Errorf("%s: %v\n%s", name, faults, text)
		}
		got, want := l.Couriers[courier], p.Courier
		if len(l.Couriers) != 1 || (len(got.Secrets) == 1) != (p.Secret != "") || (got.Mode == config.ModeObserve) != p.Unverified {
			t.Errorf("%s is shown as\n%s", name, text)
		}
		got.Preset, got.Secrets, got.Mode = want.Preset, want.Secrets, want.Mode
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s makes\n%+v, what is shown of it\n%+v", name, want, got)
		}
		for _, part := range append([]string{p.About, p.Docs, p.Setup, p.Expects, p.Secret, p.Verified.Signature.String(), p.Verified.States.String()}, p.Addresses...) {
			if !strings.Contains(text, part) {
				t.Errorf("%s is shown without %q", name, part)
			}
		}
		var one config.PresetInfo
		if err := json.Unmarshal([]byte(runPresets(t, 0, name, "--json")), &one); err != nil || one.Name != name || one.TOML != text {
			t.Errorf("%s: %v, as JSON %+v", name, err, one)
		}
	}
	if out := runPresets(t, exitNotFound, "pigeon"); !strings.Contains(out, fmt.Sprintf("no preset %q", "pigeon")) {
		t.Errorf("of an unknown one it says %s", out)
	}
}
