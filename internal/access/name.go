package access

import (
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// maxAccountName bounds an account name, in bytes.
const maxAccountName = 64

// reservedNames are what the product itself is called where accounts are named.
var reservedNames = []string{"account", "anonymous", "chartkeep", "everyone", "me", "root", "self", "system", "token"}

// CheckAccountName returns a problem when the name cannot be that of an account,
// of a project's member or of a token. A name has 2 to 64 bytes: lower-case
// letters and digits, with single '.', '_' or '-' between them. So it is one
// word in a shell, has no colon for Basic authentication to split at, never
// looks like a credential or an id of one, and no two differ only in case.
func CheckAccountName(name string) error {
	e := problem.New(problem.Invalid, "account-name", "%q cannot be the name of an account", clip(name))
	if len(name) < 2 || len(name) > maxAccountName {
		return e.With("length", "%d", len(name)).With("allowed", "2 to %d", maxAccountName)
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		between := strings.IndexByte("._-", c) >= 0 && i > 0 && i < len(name)-1 && strings.IndexByte("._-", name[i-1]) < 0
		if !letter && !between {
			e.With("at", "%d", i+1).With("allowed", "a-z, 0-9, and single '.', '_', '-' between them")
			if lower := strings.ToLower(name); lower != name && CheckAccountName(lower) == nil {
				e.Suggest("use %s", lower)
			}
			return e
		}
	}
	if slices.Contains(reservedNames, name) {
		return e.With("reason", "the name is reserved")
	}
	for _, prefix := range []string{TokenPrefix, BearerPrefix, "tok-"} {
		if strings.HasPrefix(name, prefix) {
			return e.With("reason", "names that begin with %s belong to credentials", prefix)
		}
	}
	return nil
}
