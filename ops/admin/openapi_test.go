package admin_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

// operation is an operation of the OpenAPI document, as far as the tests look at it.
type operation struct {
	OperationID string
	Summary     string
	Security    *[]map[string][]admin.Role
	Parameters  []struct{ Name, In string }
	Responses   map[string]any
}

// needs returns the role that an operation is documented to need, "" for none.
func (o *operation) needs() admin.Role {
	switch {
	case o.Security == nil:
		return admin.Read // that of the whole document
	case len(*o.Security) == 0:
		return ""
	default:
		return (*o.Security)[len(*o.Security)-1]["token"][0]
	}
}

// documented returns a pattern's method and path as the document writes them.
func documented(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return strings.ToLower(method), strings.NewReplacer("{$}", "", "...}", "}").Replace(path)
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	server, err := admin.New(admin.DefaultConfig(), admintest.Sample().Deps())
	if err != nil {
		t.Fatal(err)
	}
	var routes, operations []string
	var doc struct {
		Paths map[string]map[string]*operation
	}
	if err := json.Unmarshal([]byte(ops.OpenAPI), &doc); err != nil {
		t.Fatal(err)
	}
	for pattern, needed := range server.Routes() {
		method, path := documented(pattern)
		routes = append(routes, method+" "+path)
		if documented := doc.Paths[path][method].needs(); documented != needed {
			t.Errorf("%s: documented as needing the role %q, but needs %q", pattern, documented, needed)
		}
	}
	ids := map[string]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			name := method + " " + path
			operations = append(operations, name)
			if op.Summary == "" || len(op.Responses) == 0 || ids[op.OperationID] != "" {
				t.Errorf("%s: summary %q, operationId %q (also of %q), %d responses", name, op.Summary, op.OperationID, ids[op.OperationID], len(op.Responses))
			}
			ids[op.OperationID] = name
			checkPathParameters(t, path, op)
		}
	}
	slices.Sort(routes)
	slices.Sort(operations)
	if !slices.Equal(routes, operations) {
		t.Errorf("routes:\n%s\ndocumented:\n%s", strings.Join(routes, "\n"), strings.Join(operations, "\n"))
	}
}

func checkPathParameters(t *testing.T, path string, op *operation) {
	t.Helper()
	var want, got []string
	for _, match := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		want = append(want, match[1])
	}
	for _, p := range op.Parameters {
		if p.In == "path" {
			got = append(got, p.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: path parameters %v", path, got)
	}
}
