// Whoever searches for several words has a message, and wants its entry. So does whoever finds a heading of that page.
// The numbers are Sphinx's own.
const isMessage = (new URLSearchParams(window.location.search).get("q") || "").trim().split(/\s+/).length > 3;
const ofMessages = (page, anchor) => (page !== "when_it_fails" ? 0 : isMessage ? 100 : anchor ? 20 : 0);
var Scorer = {
  score: ([page, , anchor, , score]) => score + ofMessages(page, anchor),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
