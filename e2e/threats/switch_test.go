package threats

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// check is a check of the product, and how it is taken out.
type check struct {
	name  string
	words string // what it is, for the document
	by    string // who makes it
	off   []mutation
}

// mutation is a text of the product's source and what stands there in the
// program whose checks can be switched off. The old text has to be there exactly
// once, so that a check that was moved or rewritten is noticed. In the new one
// OFF is the condition that the check is off, and TEXT(a, b) is a where it is
// off, else b.
type mutation struct{ file, old, new string }

// envOff names the checks that are off, in the program that has switches.
const envOff = "THREATS_OFF"

// switches is what the switches are made of, added to each package that has
// one.
const switches = `package %s

import (
	"os"
	"slices"
	"strings"
)

func threatsOff(check string) bool {
	return slices.Contains(strings.Split(os.Getenv("` + envOff + `"), ","), check)
}

func threatsText(check, off, on string) string {
	if threatsOff(check) {
		return off
	}
	return on
}
`

// switched is the program with a switch for every check: one program for all
// rows, since building is what costs. With all checks on it is never asked.
var switched struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// withSwitches removes the program that was built.
type withSwitches struct{ m *testing.M }

func (x withSwitches) Run() int {
	defer func() {
		if switched.dir != "" {
			os.RemoveAll(switched.dir)
		}
	}()
	return x.m.Run()
}

func switchedProgram(t *testing.T) string {
	t.Helper()
	switched.once.Do(func() { switched.path, switched.err = buildSwitched() })
	if switched.err != nil {
		t.Fatal(switched.err)
	}
	return switched.path
}

// buildSwitched builds the program through an overlay: the source stays as it
// is.
func buildSwitched() (string, error) {
	root, err := daemontest.Root()
	if err != nil {
		return "", err
	}
	if switched.dir, err = os.MkdirTemp("", "chartkeep-switched-"); err != nil {
		return "", err
	}
	files, err := mutate(root, checks)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for path, text := range files {
		to := filepath.Join(switched.dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, path)] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(switched.dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	program := filepath.Join(switched.dir, "chartkeep")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-overlay", file, "-o", program, "./cmd/chartkeep")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program with switches: %w\n%s", err, out)
	}
	return program, nil
}

var (
	packageLine = regexp.MustCompile(`(?m)^package (\w+)$`)
	textSwitch  = regexp.MustCompile(`\bTEXT\(`)
	offSwitch   = regexp.MustCompile(`\bOFF\b`)
)

// mutate returns the files of the product that differ, by their path below the
// root, and those that are added. It names every mutation that does not fit, not
// the first alone.
func mutate(root string, list []check) (map[string]string, error) {
	whole, files, packages, misfits := map[string]string{}, map[string]string{}, map[string]string{}, []string(nil)
	for _, c := range list {
		for _, m := range c.off {
			path := filepath.FromSlash(m.file)
			if whole[path] == "" {
				text, err := os.ReadFile(filepath.Join(root, path))
				if err != nil {
					misfits = append(misfits, fmt.Sprintf("%s: %v", c.name, err))
					continue
				}
				whole[path], files[path] = string(text), string(text)
			}
			if n := strings.Count(whole[path], m.old); n != 1 || strings.Count(files[path], m.old) != 1 {
				misfits = append(misfits, fmt.Sprintf("%s: %s has this text %d times, want once:\n\t%s", c.name, m.file, n, m.old))
				continue
			}
			to := offSwitch.ReplaceAllString(m.new, fmt.Sprintf("threatsOff(%q)", c.name))
			to = textSwitch.ReplaceAllString(to, fmt.Sprintf("threatsText(%q, ", c.name))
			files[path] = strings.Replace(files[path], m.old, to, 1)
			if name := packageLine.FindStringSubmatch(whole[path]); name != nil {
				packages[filepath.Dir(path)] = name[1]
			}
		}
	}
	if misfits != nil {
		return nil, fmt.Errorf("the source of a check has changed; say anew in checks_test.go how it is taken out:\n%s", strings.Join(misfits, "\n"))
	}
	for dir, name := range packages {
		files[filepath.Join(dir, "threats_switches.go")] = fmt.Sprintf(switches, name)
	}
	return files, nil
}

// TestMutationsThatDoNotFit: a check whose source has changed is a failure that
// says where, and not a check that nobody switches off any more.
func TestMutationsThatDoNotFit(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package a\n\nvar x, y = held, held\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{
		"gone":              "has this text 0 times",
		"held":              "has this text 2 times",
		"var x, y = held, ": "",
	} {
		_, err := mutate(root, []check{{name: "c", off: []mutation{{"a.go", old, "OFF"}}}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", old, err, want)
		}
	}
	if _, err := mutate(root, []check{{name: "c", off: []mutation{{"b.go", "x", "OFF"}}}}); err == nil {
		t.Error("a file that is gone is no error")
	}
}

// TestSwitches: every check is where the suite takes it out. It builds nothing.
func TestSwitches(t *testing.T) {
	root, err := daemontest.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mutate(root, checks); err != nil {
		t.Error(err)
	}
}

// TestChecks: each check is taken out somewhere, and is wanted by a row.
func TestChecks(t *testing.T) {
	var names, wanted []string
	for _, c := range checks {
		names = append(names, c.name)
		if len(c.off) == 0 || c.words == "" || c.by == "" {
			t.Errorf("the check %s cannot be taken out, or says nothing", c.name)
		}
		for _, m := range c.off {
			if !textSwitch.MatchString(m.new) && !offSwitch.MatchString(m.new) {
				t.Errorf("%s: %q has no switch", c.name, m.new)
			}
		}
	}
	for _, r := range rows() {
		for _, c := range r.catches {
			wanted = append(wanted, c.check)
		}
	}
	slices.Sort(names)
	slices.Sort(wanted)
	if wanted = slices.Compact(wanted); !slices.Equal(names, wanted) {
		t.Errorf("checks %q, and rows want %q", names, wanted)
	}
}
