package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// troubles maps what an operating system says to what an operator can do
// about it; the first that matches counts.
var troubles = []struct {
	err                error
	rule, message, try string
}{
	{syscall.ENOSPC, "blob-store-full", "the disk of the blob store is full", "free space on the disk of the data folder"},
	{syscall.EDQUOT, "blob-store-full", "the disk quota of the blob store is used up", "free space or raise the quota of the server's user"},
	{syscall.EROFS, "blob-store-read-only", "the disk of the blob store is read-only", "look at the system log for the reason, then mount it for writing"},
	{fs.ErrPermission, "blob-store-permission", "the server may not use the folder of the blob store", "give the server's user the rights to read and write the data folder"},
	{syscall.EIO, "blob-store-io", "the disk of the blob store fails", "look at the system log and at the health of the disk"},
	{syscall.EMFILE, "blob-store-busy", "the server has too many files open", "raise the limit of open files of the server"},
	{syscall.ENFILE, "blob-store-busy", "the machine has too many files open", "raise the limit of open files of the machine"},
	{syscall.EXDEV, "blob-store-links", "the folder of the blob store spans two file systems", "keep its folders uploads and blobs on one file system"},
	{syscall.ENOTSUP, "blob-store-links", "the file system of the blob store lacks what the store needs: hard links, locks and the sync of folders", "keep the data folder on a local file system"},
	{fs.ErrNotExist, "blob-store-missing", "the folder of the blob store, or a part of it, is missing", "look whether its disk is mounted, then start the server again"},
}

// unavailable says that the store could not do what it was asked to. doing
// names the operation for the operator's log.
func unavailable(doing string, err error) error {
	cause := fmt.Errorf("%s: %w", doing, err)
	for _, t := range troubles {
		if errors.Is(err, t.err) {
			return problem.New(problem.Unavailable, t.rule, "%s", t.message).Suggest("%s", t.try).Because(cause)
		}
	}
	return problem.New(problem.Unavailable, "blob-store-failed", "the blob store failed").Because(cause)
}

func notFound(digest string) error {
	return problem.New(problem.NotFound, "blob-unknown", "no blob %s", digest)
}

// uploadNotFound is one answer for ids that never were, are over, or are no
// ids at all. It repeats only what fits an id.
func uploadNotFound(id string) error {
	return problem.New(problem.NotFound, "upload-unknown", "no upload %.40q", id).Suggest("start a new upload")
}

func uploadHeld(id string) error {
	return problem.New(problem.Conflict, "upload-busy", "another request is writing to the upload %s", id).
		Suggest("wait for it to end, then ask how much has arrived")
}

// damaged says that what lies under a digest is not what the digest names.
func damaged(digest string) *problem.Error {
	return problem.New(problem.Disproven, "blob-damaged", "the stored bytes of %s are damaged", digest).
		Suggest("restore the blob from a backup")
}
