package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Bounds of what a reader can hold in the head.
const (
	mostFiles   = 18 // of a folder, tests left out
	mostMethods = 25 // of a type
	mostNames   = 90 // that the vocabulary of all packages exports
	vocabulary  = "ingest/event"
)

// TestRoomsStaySmall keeps each package within the bounds.
func TestRoomsStaySmall(t *testing.T) {
	files, methods, names := map[string]int{}, map[string]int{}, 0
	walkGo(t, func(file, dir string, _ []string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		files[dir]++
		source, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			if dir == vocabulary {
				names += exportedNames(declared)
			}
			if f, isFunction := declared.(*ast.FuncDecl); isFunction && f.Recv != nil {
				methods[dir+"."+receiver(f)]++
			}
		}
	})
	for dir, n := range files {
		if n > mostFiles {
			t.Errorf("%s has %d files; at most %d are easy to find one's way in", dir, n, mostFiles)
		}
	}
	for name, n := range methods {
		if n > mostMethods {
			t.Errorf("%s has %d methods; at most %d make one type of one idea", name, n, mostMethods)
		}
	}
	if names > mostNames {
		t.Errorf("%s exports %d names; at most %d make a vocabulary", vocabulary, names, mostNames)
	}
	if len(files) < 10 || len(methods) < 50 || names < 30 {
		t.Errorf("%d packages, %d types with methods, %d names: is the source read at all?", len(files), len(methods), names)
	}
}

// receiver is the name of the type that a method belongs to.
func receiver(f *ast.FuncDecl) string {
	of := f.Recv.List[0].Type
	for {
		switch t := of.(type) {
		case *ast.StarExpr:
			of = t.X
		case *ast.IndexExpr:
			of = t.X
		case *ast.Ident:
			return t.Name
		default:
			return "?"
		}
	}
}

// exportedNames counts the functions, methods of exported types, types, constants and
// variables of a declaration that other packages may use.
func exportedNames(declared ast.Decl) (count int) {
	switch d := declared.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
			count++
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					count++
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() {
						count++
					}
				}
			}
		}
	}
	return count
}
