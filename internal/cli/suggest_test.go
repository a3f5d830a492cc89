package cli

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command that the program suggests, in an error or on a page, is one
// that can be pasted: it stands alone, or ends the sentence behind a colon; the
// command and its flags exist; and with names in place of the placeholders it
// is no wrong use.
func TestSuggestedCommands(t *testing.T) {
	root := filepath.Join("..", "..")
	texts := slices.Concat(suggestions(t, filepath.Join(root, "internal")), suggestions(t, filepath.Join(root, "client")),
		shownCommands(t, filepath.Join(root, "internal", "server", "web", "templates")))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"schema":"error/v1","kind":"not-found","message":"nothing is here"}`)
	}))
	defer srv.Close()
	t.Chdir(t.TempDir())
	commands := map[string]bool{}
	for _, s := range texts {
		command, misplaced := suggestedCommand(s.text)
		if misplaced != "" {
			t.Errorf("%s: chartkeep %s has to stand alone, or at the end behind a colon: %q", s.at, misplaced, s.text)
		}
		if command == "" {
			continue
		}
		commands[command] = true
		err := tryCommand(t, srv.URL, command, "demo")
		for _, name := range []string{"demo/web@1.0.0", "7"} { // a name may be that of a release, or a number
			if err != nil {
				err = tryCommand(t, srv.URL, command, name)
			}
		}
		if err != nil {
			t.Errorf("%s: %s: %v", s.at, command, err)
		}
	}
	if len(commands) < 30 {
		t.Errorf("found %d commands only", len(commands))
	}
}

// tryCommand runs a command, with a name in place of what is filled in at run
// time, against a server that has nothing. One that would serve is not run.
func tryCommand(t *testing.T, server, command, name string) error {
	words := shellWords(t, withNames(strings.ReplaceAll(command, "--server %s", "--server "+server), name))[1:]
	root := testApp().root()
	root.InitDefaultHelpCmd()
	found, rest, err := root.Find(words)
	if err == nil {
		err = found.ParseFlags(rest)
	}
	if err == nil {
		err = found.ValidateArgs(found.Flags().Args())
	}
	switch {
	case err != nil:
		return err
	case found.HasSubCommands():
		return errors.New("it names a group")
	case !found.Runnable() || found.Name() == "serve":
		return nil
	}
	if found.Flags().Lookup("yes") != nil {
		words = append(words, "--yes") // there is nobody to ask
	}
	var stderr strings.Builder
	code := Main(t.Context(), words, strings.NewReader("correct horse battery\n"), io.Discard, &stderr, []string{"CHARTKEEP_SERVER=" + server})
	if code == exitUsage && !strings.Contains(stderr.String(), "there is no file") {
		return errors.New(stderr.String())
	}
	return nil
}

var (
	verb        = regexp.MustCompile(`%[-+# 0]*[0-9]*(\.[0-9]+)?[a-z]`)
	placeholder = regexp.MustCompile(`\b[A-Z][A-Z-]+\b`)
)

// withNames fills a command in.
func withNames(command, name string) string {
	command = strings.ReplaceAll(command, "@%s", "@1.0.0")
	command = verb.ReplaceAllString(command, name)
	command = placeholder.ReplaceAllStringFunc(command, func(word string) string {
		switch word {
		case "VERSION":
			return "1.0.0"
		case "ROLE":
			return "reader"
		case "ID":
			return name
		case "UUID":
			return "6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50"
		}
		return strings.ToLower(word)
	})
	command, _, _ = strings.Cut(command, " < ")
	command, _, _ = strings.Cut(command, " > ")
	return command
}

var commandAt = regexp.MustCompile(`(^|: |\$\()?\bchartkeep ([a-z][a-z-]*)`)

// suggestedCommand is the command that a text ends with, "" for none; misplaced
// is one that stands where nobody can copy it.
func suggestedCommand(text string) (command, misplaced string) {
	for _, m := range commandAt.FindAllStringSubmatchIndex(text, -1) {
		name := text[m[4]:m[5]]
		if m[2] < 0 {
			if slices.ContainsFunc(testApp().root().Commands(), func(c *cobra.Command) bool { return c.Name() == name }) {
				misplaced = name
			}
			continue
		}
		command = text[m[3]:]
		if text[m[2]:m[3]] == "$(" {
			command, _, _ = strings.Cut(command, ")")
		}
		return command, misplaced
	}
	return "", misplaced
}

// suggestion is a text that tells people what to do.
type suggestion struct{ at, text string }

// suggestions lists the texts below a folder that source hands to Suggest, try
// and Try, those that functions called there may return, and lines that are set
// off from the margin.
func suggestions(t *testing.T, dir string) (out []suggestion) {
	t.Helper()
	set := token.NewFileSet()
	packages := map[string][]*ast.File{}
	walkFiles(t, dir, ".go", func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], file)
	})
	for folder, files := range packages {
		add := func(n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if s, ok := literal(n); ok {
					out = append(out, suggestion{set.Position(n.Pos()).String(), s})
				}
				return true
			})
		}
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr:
					if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Try" {
						add(n.Value)
					}
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Suggest" || f.Sel.Name == "try") {
						for _, arg := range n.Args {
							add(arg)
							if call, ok := arg.(*ast.CallExpr); ok {
								if body := function(files, call.Fun); body != nil {
									add(body)
								}
							}
						}
					}
				case *ast.BasicLit:
					if s, ok := literal(n); ok && filepath.Base(folder) != "cli" { // whose examples have a test
						for line := range strings.Lines(s) {
							if command := strings.TrimSpace(line); strings.HasPrefix(line, "  chartkeep ") {
								out = append(out, suggestion{set.Position(n.Pos()).String(), command})
							}
						}
					}
				}
				return true
			})
		}
	}
	return out
}

func literal(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// function is the body of a function of the same package, nil for others.
func function(files []*ast.File, name ast.Expr) ast.Node {
	id, ok := name.(*ast.Ident)
	if !ok {
		return nil
	}
	for _, file := range files {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == id.Name {
				return f.Body
			}
		}
	}
	return nil
}

var (
	codeElement = regexp.MustCompile(`<code>(.*?)</code>`)
	action      = regexp.MustCompile(`{{[^}]*}}`)
	value       = regexp.MustCompile(`{{\.[A-Za-z]+}}`)
)

// shownCommands lists the texts in templates that are shown as code.
func shownCommands(t *testing.T, dir string) (out []suggestion) {
	t.Helper()
	walkFiles(t, dir, ".html", func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codeElement.FindAllStringSubmatch(string(b), -1) {
			text := action.ReplaceAllString(value.ReplaceAllString(m[1], "%s"), "")
			out = append(out, suggestion{path, html.UnescapeString(text)})
		}
	})
	return out
}

func walkFiles(t *testing.T, dir, ext string, do func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ext {
			do(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
