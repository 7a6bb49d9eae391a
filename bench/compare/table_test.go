package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// reports writes reports of these requests a second, by their files' names, and
// returns the directory.
func reports(t *testing.T, perSecond map[string]float64) string {
	t.Helper()
	dir := t.TempDir()
	for name, n := range perSecond {
		text := fmt.Sprintf(`{"answers":[{"kind":"fresh","status":202,"count":10,"expected":true}],`+
			`"latency":{"perSecond":%g,"p50Seconds":%g,"p99Seconds":%g,"p999Seconds":%g}}`, n, 10/n, 50/n, 100/n)
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTable(t *testing.T) {
	t.Parallel()
	dir := reports(t, map[string]float64{
		"group.100.1": 12_000, "group.100.2": 18_000, "group.100.3": 15_000, "group.10.1": 3_000,
		"interval.100.1": 20_000, "always.100.1": 1_500, "hmac.100.1": 29_000, "hmac.100.2": 31_000, "hmac.100.3": 30_000,
		"redis.100.1": 5_000, "redis-pipelined.100.1": 16_000, "hmac.10.1": 30_000,
	})
	var out bytes.Buffer
	if err := printTable(&out, dir, false); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "table.txt")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s%v", &out, want, err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	// reached are rates of which each is as high as it may be.
	reached := map[string]float64{"group.100.1": 100, "hmac.100.1": 200, "always.100.1": 20, "interval.100.1": 125, "redis.100.1": 50}
	for name, tc := range map[string]struct {
		change func(map[string]float64)
		missed bool
		says   string
	}{
		"reached":          {func(map[string]float64) {}, false, "every target is reached at 100 connections"},
		"missed":           {func(r map[string]float64) { r["group.100.1"] = 99 }, true, "missed: group takes 0.49 times the requests of hmac"},
		"for interest":     {func(r map[string]float64) { r["redis-pipelined.100.1"] = 900 }, false, "every target is reached"},
		"no hmac":          {func(r map[string]float64) { delete(r, "hmac.100.1") }, true, "not measured: group beside hmac at 100 connections"},
		"no always":        {func(r map[string]float64) { delete(r, "always.100.1") }, true, "not measured: group beside always"},
		"no interval":      {func(r map[string]float64) { delete(r, "interval.100.1") }, true, "not measured: group beside interval"},
		"no Redis":         {func(r map[string]float64) { delete(r, "redis.100.1") }, true, "not measured: group beside redis at"},
		"no base":          {func(r map[string]float64) { delete(r, "group.100.1") }, true, "not measured: group beside hmac"},
		"lighter load":     {func(r map[string]float64) { clear(r); r["group.10.1"], r["hmac.10.1"] = 100, 200 }, true, "not measured: group beside hmac"},
		"another's target": {func(r map[string]float64) { r["redis.100.1"] = 51 }, true, "missed: group takes 1.96 times the requests of redis"},
	} {
		rates := maps.Clone(reached)
		tc.change(rates)
		dir := reports(t, rates)
		var out, errOut bytes.Buffer
		code := run(t.Context(), []string{"table", "--judge", dir}, &out, &errOut)
		if (code == exitMissed) != tc.missed || (code == 0) == tc.missed || !strings.Contains(out.String(), tc.says) {
			t.Errorf("%s: exit %d: %s%s", name, code, &out, &errOut)
		}
		if code := run(t.Context(), []string{"table", dir}, &out, &errOut); code != 0 {
			t.Errorf("%s, not judged: exit %d: %s", name, code, &errOut)
		}
	}
}

func TestReportsThatCompareWithNothing(t *testing.T) {
	t.Parallel()
	const good = `{"latency":{"perSecond":1}}`
	for name, text := range map[string]string{
		"group.100.json": good, "other.100.1.json": good, "group.0.1.json": good, "group.x.1.json": good,
		"group.100.1.json": "no JSON", "group.100.2.json": `{"latency":{}}`,
		"group.100.3.json": `{"latency":{"perSecond":1},"answers":[{"kind":"fresh","status":503,"count":2}]}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := printTable(&bytes.Buffer{}, dir, false); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s with %s: %v", name, text, err)
		}
	}
	if err := printTable(&bytes.Buffer{}, t.TempDir(), false); err == nil {
		t.Error("no reports are fine")
	}
}
