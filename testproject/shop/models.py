"""The models of the old release; each copy that the demo makes has those of its own release here."""

from testproject.shop.releases.old import CartItem, Courier, Customer, Order, OrderLine, Product

__all__ = ["CartItem", "Courier", "Customer", "Order", "OrderLine", "Product"]
