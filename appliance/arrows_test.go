package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fincart/courier-gateway"

// arrows says which packages of this module each package may import; nothing
// means none. A package that is not listed must not exist.
var arrows = map[string][]string{
	"ingest/event":     {},
	"ingest/jsontext":  {},
	"ingest/signature": {"ingest/jsontext"},
	"ingest/payload":   {"ingest/event", "ingest/jsontext"},
	"ingest":           {"ingest/event", "ingest/jsontext", "ingest/payload", "ingest/signature"},
	"jetstream":        {"ingest/event", "ingest/jsontext"},
	"process":          {"ingest/event", "ingest/jsontext"},
	"persistence":      {"ingest/event", "ingest/jsontext"},
	"ops":              {"ingest/event", "ingest/jsontext"},
	"bench":            {"ingest/event", "ingest/jsontext", "ingest/signature"},
	"bench/proof":      {"bench", "ingest/event", "ingest/jsontext"},
	"bench/load":       {"bench", "bench/proof", "ingest/event", "ingest/jsontext", "ingest/signature"},
	"bench/compare":    {"ingest/jsontext", "ingest/signature"}, // a program of its own: nothing imports it
	"appliance": {"bench", "bench/load", "bench/proof", "ingest", "ingest/event", "ingest/jsontext", "ingest/payload", "ingest/signature",
		"jetstream", "ops", "persistence", "process"},
}

// testArrows says what the tests of a package may import besides: those here feed
// it bodies, or check bodies that it makes.
var testArrows = map[string][]string{
	"process":     {"ingest/payload"},
	"bench/load":  {"ingest/payload"},
	"bench/proof": {"ingest/payload"},
}

// leaves import no library, but for one in territory that names them.
var leaves = []string{"ingest/event", "ingest/jsontext", "ingest/payload", "ingest/signature"}

// territory says where a library may be imported. The longest prefix counts.
var territory = map[string][]string{
	"github.com/valyala/fasthttp":      {"ingest", "ops", "bench/load", "bench/compare"},
	"github.com/nats-io":               {"jetstream"},
	"github.com/minio/highwayhash":     {"jetstream"},
	"go.mongodb.org":                   {"persistence"},
	"github.com/redis":                 {"persistence", "bench/compare"},
	"zombiezen.com/go/sqlite":          {"persistence"},
	"modernc.org":                      {"persistence"},
	"github.com/FerretDB":              {"persistence", "appliance"}, // in tests
	"github.com/tsenart/vegeta":        {"bench/load"},
	"github.com/knadh/koanf":           {"appliance"},
	"github.com/go-viper/mapstructure": {"appliance"},
	"github.com/spf13/cobra":           {"appliance", "ops", "bench", "bench/load"},
	"golang.org/x/text":                {"ingest/signature"}, // the one library of a leaf
}

// topLevel is everything that may stand at the root of the repository.
var topLevel = []string{
	"appliance", "ingest", "process", "jetstream", "persistence", "bench", "ops", "docs", "data",
	"go.mod", "go.sum", "justfile", "compose.yaml", "Dockerfile", "appliance.toml", "README.md", "CHANGELOG.md", "LICENSE",
}

func TestImportArrows(t *testing.T) {
	seen := map[string]bool{}
	walkGo(t, func(file, dir string, imports []string) {
		seen[dir] = true
		allowed, known := arrows[dir]
		if !known {
			t.Errorf("%s: there is no package %s in the layout", file, dir)
			return
		}
		if strings.HasSuffix(file, "_test.go") {
			allowed = slices.Concat(allowed, testArrows[dir])
		}
		for _, imp := range imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok {
				if !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s; package %s may import %v of this module", file, ours, dir, allowed)
				}
			} else if strings.HasPrefix(imp, "github.com/FerretDB") && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s imports %s, which is for tests", file, imp)
			} else if homes := home(imp); homes != nil && !slices.Contains(homes, dir) {
				t.Errorf("%s imports %s, which belongs in %v", file, imp, homes)
			} else if slices.Contains(leaves, dir) && strings.Contains(imp, ".") && homes == nil {
				t.Errorf("%s imports %s; package %s is to have the standard library only", file, imp, dir)
			}
		}
	})
	for dir := range arrows {
		if !seen[dir] {
			t.Errorf("package %s of the layout does not exist", dir)
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}

// home returns the packages that may import a library, nil for any.
func home(imp string) []string {
	for prefix := imp; prefix != "."; prefix = path.Dir(prefix) {
		if homes, listed := territory[prefix]; listed {
			return homes
		}
	}
	return nil
}

// walkGo calls visit for every Go file of the module, tests included.
func walkGo(t *testing.T, visit func(file, dir string, imports []string)) {
	t.Helper()
	root := ".."
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && name != root {
			return filepath.SkipDir
		}
		if entry.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, imp)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), path.Dir(filepath.ToSlash(rel)), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
