"""What is to be done, as data: steps, and the builders of plans. Nothing here touches a database."""
