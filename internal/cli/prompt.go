package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// confirm asks before what cannot be taken back. Without a terminal it wants
// --yes instead.
func (a *app) confirm(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if _, ok := terminal(a.stdin); !ok {
		return usage("there is no terminal to ask on").try("give --yes if you mean it")
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := readLine(ctx, a.stdin)
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return problem.New(problem.Unavailable, "not-confirmed", "nothing was changed, since the answer was not yes")
}

// maxLine bounds a line from stdin, in bytes.
const maxLine = 4 << 10

// readLine reads a line without its end. It returns when ctx ends, though the
// reading goes on: nothing can stop a read of a terminal.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReaderSize(io.LimitReader(r, maxLine), maxLine).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		got <- answer{strings.TrimRight(line, "\r\n"), err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-got:
		if a.err != nil {
			return "", fmt.Errorf("read standard input: %w", a.err)
		}
		return a.line, nil
	}
}

// password reads a password: the first line of stdin, or what is typed twice
// at a terminal that does not show it.
func (a *app) password(ctx context.Context, account string) (string, error) {
	fd, ok := terminal(a.stdin)
	if !ok {
		line, err := readLine(ctx, a.stdin)
		if err == nil && line == "" {
			err = usage("standard input has no password in its first line").try("chartkeep user passwd %s < password-file", account)
		}
		return line, err
	}
	ask := func(what string) (string, error) {
		fmt.Fprint(a.stderr, what)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(a.stderr)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		return string(b), nil
	}
	first, err := ask("New password for " + printable(account) + ": ")
	if err != nil {
		return "", err
	}
	second, err := ask("Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", problem.New(problem.Invalid, "password-differs", "both passwords differ, and nothing was changed")
	}
	return first, nil
}
