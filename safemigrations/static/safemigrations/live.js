"use strict";
// Looks at its own page again and puts in what has changed. Without it, the page is as complete, and stands still.
{
    const PARTS = ["#changelist .results", "#safemigrations-row .module", "#safemigrations-below"];

    const busy = (part) => part.contains(document.activeElement) && document.activeElement !== document.body;

    const putIn = (fresh) => {
        for (const selector of PARTS) {
            const before = document.querySelector(selector);
            const after = fresh.querySelector(selector);
            if (before && after && !busy(before) && before.innerHTML !== after.innerHTML) {
                before.innerHTML = after.innerHTML;
            }
        }
    };

    const follow = (status) => {
        const again = () => window.setTimeout(look, Number(status.dataset.every));

        const look = async () => {
            if (document.hidden) {
                again();
                return;
            }
            try {
                const answer = await fetch(window.location.href, {credentials: "same-origin"});
                if (!answer.ok || answer.redirected) {
                    throw new Error(answer.statusText);
                }
                putIn(new DOMParser().parseFromString(await answer.text(), "text/html"));
                status.textContent = "";
            } catch {
                status.textContent = "This page can't be brought up to date now; what it shows is older.";
            }
            again();
        };

        again();
    };

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll(".safemigrations-live").forEach(follow);
    });
}
