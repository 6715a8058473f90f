package vecdb

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"videosim/shared/errs"
)

// Collection is one model's collection in a Milvus server.
type Collection struct {
	Fingerprint string
	Name        string
	Promoted    bool // the alias points to it
}

// Collections lists the models' collections of the server, by name.
func (m *Milvus) Collections(ctx context.Context) ([]Collection, error) {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	promoted, err := m.Promoted(ctx)
	if err != nil {
		return nil, err
	}
	c, err := m.link.client()
	if err != nil {
		return nil, err
	}
	all, err := c.ListCollections(ctx)
	if err != nil {
		return nil, m.fail("list collections beside", err)
	}
	var own []Collection
	for _, c := range all {
		if fingerprint, ok := strings.CutPrefix(c.Name, collectionPrefix); ok {
			own = append(own, Collection{Fingerprint: fingerprint, Name: c.Name, Promoted: fingerprint == promoted})
		}
	}
	slices.SortFunc(own, func(a, b Collection) int { return cmp.Compare(a.Name, b.Name) })
	return own, nil
}

// Promoted returns the fingerprint of the collection that the alias points to,
// "" when there is no alias.
func (m *Milvus) Promoted(ctx context.Context) (string, error) {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	c, err := m.link.client()
	if err != nil {
		return "", err
	}
	found, err := c.DescribeCollection(ctx, Alias)
	if isMissing(err) {
		return "", nil
	}
	if err != nil {
		return "", m.fail("read the alias beside", err)
	}
	return strings.TrimPrefix(found.Name, collectionPrefix), nil
}

// Promote points the alias to this collection, at once for every reader, and
// returns the fingerprint of the one before ("" for none): promoting that one
// is the way back. A collection that does not answer is not promoted.
func (m *Milvus) Promote(ctx context.Context) (previous string, err error) {
	if err := m.Ready(ctx); err != nil {
		return "", err
	}
	if previous, err = m.Promoted(ctx); err != nil {
		return "", err
	}
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	c, err := m.link.client()
	switch {
	case err != nil:
	case previous == "":
		err = c.CreateAlias(ctx, m.collection, Alias)
	default:
		err = c.AlterAlias(ctx, m.collection, Alias)
	}
	if err != nil {
		return "", m.fail("point the alias to", err)
	}
	return previous, nil
}

// Drop removes another model's collection and all that it holds. Milvus would
// leave a dangling alias behind, so the promoted one is refused, and so is
// this one.
func (m *Milvus) Drop(ctx context.Context, fingerprint string) error {
	promoted, err := m.Promoted(ctx)
	if err != nil {
		return err
	}
	name := collectionPrefix + fingerprint
	switch {
	case !validFingerprint.MatchString(fingerprint):
		return errs.Field("fingerprint", "expected letters and digits, found %q", fingerprint)
	case fingerprint == promoted:
		return errs.Field("fingerprint", "%s is the promoted collection: promote another first", name)
	case name == m.collection:
		return errs.Field("fingerprint", "%s is in use by this process", name)
	}
	c, err := m.link.client()
	if err != nil {
		return err
	}
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	if err := c.DropCollection(ctx, name); err != nil {
		return milvusError("milvus at "+m.cfg.Address+": drop "+name, err)
	}
	return nil
}
