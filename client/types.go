package client

import (
	"fmt"
	"time"
)

// Input names a video of a question in exactly one of three ways.
type Input struct {
	ID        string    `json:"id,omitempty"`        // an indexed one
	Video     *Video    `json:"video,omitempty"`     // a content, embedded for this question
	Embedding []float32 `json:"embedding,omitempty"` // a vector of the gateway's model
}

// ID is an indexed video as an input.
func ID(id string) Input { return Input{ID: id} }

// Video is an event or a content. Frames are as in the event contract.
type Video struct {
	ID           string     `json:"id,omitempty"`
	Title        string     `json:"title,omitempty"`
	ASRText      string     `json:"asr_text,omitempty"`
	CategoryID   int64      `json:"category_id,omitempty"`
	TagIDs       []int64    `json:"tag_ids,omitempty"`
	PublishedAt  *time.Time `json:"published_at,omitempty"`
	ThumbnailURL string     `json:"thumbnail_url,omitempty"`
	Frames       *Frames    `json:"frames,omitempty"`
}

// Frames are count rows of dim numbers, in Data or behind Ref.
type Frames struct {
	Encoding string  `json:"encoding,omitempty"` // F16 (default), F32 or U8
	Dim      int32   `json:"dim"`
	Count    int32   `json:"count"`
	Data     []byte  `json:"data,omitempty"` // row-major, little-endian
	Ref      string  `json:"ref,omitempty"`
	SHA256   string  `json:"sha256,omitempty"` // with Ref
	Scale    float32 `json:"scale,omitempty"`  // U8 only
	Offset   float32 `json:"offset,omitempty"` // U8 only
}

// Filter restricts results; its zero value does not.
type Filter struct {
	CategoryIDs     []int64    `json:"category_ids,omitempty"`
	TagIDs          []int64    `json:"tag_ids,omitempty"`
	PublishedAfter  *time.Time `json:"published_after,omitempty"`  // at or after
	PublishedBefore *time.Time `json:"published_before,omitempty"` // before
}

// Query asks for the videos most like the positives and unlike the negatives.
type Query struct {
	Positive    []Input  `json:"positive"`
	Negative    []Input  `json:"negative,omitempty"`
	K           int      `json:"k,omitempty"` // 1 to 1000; 0: 10
	Filter      Filter   `json:"filter"`
	MinScore    float64  `json:"min_score,omitempty"`
	Exclude     []string `json:"exclude,omitempty"`
	Diversity   float64  `json:"diversity,omitempty"`  // 0 to 1
	OnMissing   string   `json:"on_missing,omitempty"` // "error" (default) or "skip"
	PageToken   string   `json:"page_token,omitempty"` // NextPageToken of the page before
	MinSequence uint64   `json:"min_sequence,omitempty"`
	WaitMS      int64    `json:"wait_ms,omitempty"`
	Model       string   `json:"model,omitempty"` // whose embeddings the caller's are; a gateway of another refuses with 409
}

// PairQuery asks how alike the two of each pair are.
type PairQuery struct {
	Pairs       [][2]Input `json:"pairs"` // up to 8,192
	MinSequence uint64     `json:"min_sequence,omitempty"`
	WaitMS      int64      `json:"wait_ms,omitempty"`
	Model       string     `json:"model,omitempty"` // as in Query
}

// Envelope is in every answer.
type Envelope struct {
	Model           string   `json:"model"`            // fingerprint
	IndexedSequence uint64   `json:"indexed_sequence"` // the index has seen every event up to this one
	MissingIDs      []string `json:"missing_ids"`
}

// Result is a found video.
type Result struct {
	ID           string    `json:"id"`
	Cosine       float64   `json:"cosine"`
	Score        float64   `json:"score"` // 0 to 1, as people judge
	Title        string    `json:"title"`
	CategoryID   int64     `json:"category_id"`
	TagIDs       []int64   `json:"tag_ids"`
	PublishedAt  time.Time `json:"published_at"`
	ThumbnailURL string    `json:"thumbnail_url"`
	Sequence     uint64    `json:"sequence"`
}

// Report says what of a content the models saw.
type Report struct {
	Input          string   `json:"input"`
	ID             string   `json:"id"`
	Modalities     []string `json:"modalities"`
	TokensCut      int32    `json:"tokens_cut"`
	TitleTokensCut int32    `json:"title_tokens_cut"`
	FramesCut      int32    `json:"frames_cut"`
}

// Page is an answer to a Query. NextPageToken is empty on the last one.
type Page struct {
	Envelope
	Results       []Result `json:"results"`
	Inputs        []Report `json:"inputs"`
	NextPageToken string   `json:"next_page_token"`
}

// batch is a question of several queries; batchAnswer answers it.
type batch struct {
	Queries     []Query `json:"queries"`
	MinSequence uint64  `json:"min_sequence,omitempty"`
	WaitMS      int64   `json:"wait_ms,omitempty"`
	Model       string  `json:"model,omitempty"`
}

type batchAnswer struct {
	Envelope
	Answers []BatchItem `json:"answers"`
}

// BatchItem is the answer to one query of several: a Page, or the Problem in
// place of it.
type BatchItem struct {
	Page    *Page    `json:"answer"`
	Problem *Problem `json:"problem"`
}

// Similarity has a score a pair, in order.
type Similarity struct {
	Envelope
	Results []PairScore `json:"results"`
	Inputs  []Report    `json:"inputs"`
}

// Embeddings has an embedding a content, in order.
type Embeddings struct {
	Envelope
	Embeddings [][]float32 `json:"embeddings"`
	Inputs     []Report    `json:"inputs"`
}

// Map is a sample of the index along the two directions in which its
// embeddings differ most; Explained is the share of their variance along each.
type Map struct {
	Envelope
	Points    []MapPoint `json:"points"`
	Explained [2]float64 `json:"explained"`
}

// MapPoint is one video of a Map; X and Y are from -1 to 1.
type MapPoint struct {
	ID         string  `json:"id"`
	Title      string  `json:"title"`
	CategoryID int64   `json:"category_id"`
	X          float64 `json:"x"`
	Y          float64 `json:"y"`
}

// PairScore is how alike two videos are; nil where one is not indexed.
type PairScore struct {
	A      string   `json:"a"`
	B      string   `json:"b"`
	Cosine *float64 `json:"cosine"`
	Score  *float64 `json:"score"`
}

// Published says under which sequence an event waits: a Query with
// MinSequence set to it sees its effect.
type Published struct {
	Envelope
	ID       string `json:"id"`
	Sequence uint64 `json:"sequence"`
	State    string `json:"state"`
}

// State is what became of a video: queued, indexed, failed or deleted.
type State struct {
	Envelope
	ID             string    `json:"id"`
	State          string    `json:"state"`
	Reason         string    `json:"reason"` // of a failure
	ReasonField    string    `json:"reason_field"`
	Sequence       uint64    `json:"sequence"`        // of its latest event
	IndexedVersion uint64    `json:"indexed_version"` // that queries see; 0: none
	Title          string    `json:"title"`
	ASRText        string    `json:"asr_text"`
	CategoryID     int64     `json:"category_id"`
	TagIDs         []int64   `json:"tag_ids"`
	PublishedAt    time.Time `json:"published_at"`
	ThumbnailURL   string    `json:"thumbnail_url"`
	Frames         *Frames   `json:"frames"` // without their data; nil: none
}

// Explanation splits a cosine: Late + Early + Cross = Cosine.
type Explanation struct {
	Envelope
	A      Explained `json:"a"`
	B      Explained `json:"b"`
	Cosine float64   `json:"cosine"`
	Score  float64   `json:"score"`
	Late   float64   `json:"late"`
	Early  float64   `json:"early"`
	Cross  float64   `json:"cross"` // LateEarly + EarlyLate

	LateEarly float64 `json:"late_early"`
	EarlyLate float64 `json:"early_late"`
	// Modalities, where asked for, say what title, speech and frames add.
	Modalities []struct {
		Name  string   `json:"name"`
		Gain  *float64 `json:"gain"`
		Share *float64 `json:"share"`
	} `json:"modalities"`
}

// Explained is one of the two videos of an Explanation. Its three versions
// differ only for the moments between an edit and its place in the index.
type Explained struct {
	ID         string   `json:"id"`
	Sequence   uint64   `json:"sequence"`   // the version compared: the latest that is embedded
	Indexed    uint64   `json:"indexed"`    // the version that other answers compare; 0: none
	Reembedded uint64   `json:"reembedded"` // the version whose modalities were left out; 0: not asked for
	Modalities []string `json:"modalities"` // those that the video has
	LateShare  float64  `json:"late_share"` // length of the late half over both lengths
	EarlyShare float64  `json:"early_share"`
}

// Evaluation is the agreement of scores with the labels of a file.
type Evaluation struct {
	Envelope
	Spearman   *float64 `json:"spearman"` // nil where it is undefined
	Pairs      int      `json:"pairs"`
	Missing    int      `json:"missing"`
	Unlabelled int      `json:"unlabelled"` // lines without a label
	Points     []Point  `json:"points"`     // of EvaluatePoints
}

// Point is one pair of an Evaluation with both judgements.
type Point struct {
	A      string  `json:"a"`
	B      string  `json:"b"`
	Label  float64 `json:"label"`
	Cosine float64 `json:"cosine"`
	Score  float64 `json:"score"`
}

// typeNotReached is the problem of an index that has not seen MinSequence.
const typeNotReached = "urn:videosim:problem:sequence-not-reached"

// Problem is an answer that says no (RFC 9457). Type is stable.
type Problem struct {
	Type       string   `json:"type"`
	Title      string   `json:"title"`
	Status     int      `json:"status"`
	Detail     string   `json:"detail"`
	Field      string   `json:"field"` // the input at fault
	MissingIDs []string `json:"missing_ids"`
	RequestID  string   `json:"request_id"` // under which the gateway's log has the call
}

func (p *Problem) Error() string {
	return fmt.Sprintf("the gateway answers %d %s: %s (request %s)", p.Status, p.Title, p.Detail, p.RequestID)
}
