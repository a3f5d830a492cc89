package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documentedLine is a command in an example of the documentation: alone on its
// line, or behind variables, a prompt or go run.
var documentedLine = regexp.MustCompile(`^(?: {4,}|\t+|[ ]*- run: |)(?:\$ )?(?:[A-Z_]+=\S+ )*(chartkeep(?: .*)?)$`)

// endOfCommand is where the shell's own begins: a pipe, a redirection, a
// comment, another command.
var endOfCommand = regexp.MustCompile(`\s(?:\||>|>>|#|&&|;|<|2>)(?:\s.*|\S.*)?$`)

// storageHeader is the first line of what a storage fingerprint is made from.
const storageHeader = "chartkeep storage fingerprint v1"

// TestDocumentedCommands: every command in an example of README and docs
// exists, with its flags and the number of its arguments.
func TestDocumentedCommands(t *testing.T) {
	root := filepath.Join("..", "..")
	n := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (strings.HasPrefix(e.Name(), ".") && path != root || e.Name() == "testdata" || e.Name() == "e2e"):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n")
		fenced := false
		for _, line := range lines {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
				continue
			}
			m := documentedLine.FindStringSubmatch(line)
			if m == nil || m[1] == storageHeader || !fenced && !strings.HasPrefix(line, "    ") && !strings.HasPrefix(line, "\t") {
				continue
			}
			n++
			if err := parseCommand(t, endOfCommand.ReplaceAllString(m[1], "")); err != nil {
				t.Errorf("%s: %s: %v", path, strings.TrimSpace(line), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 200 {
		t.Errorf("found %d commands only", n)
	}
}

// parseCommand reads a command as the program would, and does not run it.
func parseCommand(t *testing.T, command string) error {
	root := testApp().root()
	root.InitDefaultHelpCmd()
	found, rest, err := root.Find(shellWords(t, command)[1:])
	if err == nil {
		err = found.ParseFlags(rest)
	}
	if help, _ := found.Flags().GetBool("help"); err != nil || help {
		return err
	}
	if found.HasSubCommands() && found.HasParent() {
		return errors.New("it names a group")
	}
	return found.ValidateArgs(found.Flags().Args())
}
